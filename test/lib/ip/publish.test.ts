// Each test in a node of its own, read back with nft; packets are in test/plugins/portmap.test.ts.
import { afterEach, beforeEach, expect, test } from "bun:test";
import { type CniError, codes } from "../../../lib/cni/errors.ts";
import { hostLinkName, labelOf } from "../../../lib/cni/identity.ts";
import { ensureMasquerade, sweepMasquerade } from "../../../lib/ip/masquerade.ts";
import type { Published } from "../../../lib/ip/port-mapping.ts";
import { assertPublishing, checkPorts, publishPorts, sweepPorts, withdrawPorts } from "../../../lib/ip/publish.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, type Node } from "../../helpers/node.ts";
import { leftOver, snapshot } from "../../helpers/snapshot.ts";

let node: Node;
let ns: Namespace;
beforeEach(async () => {
  node = await makeNode("publish");
  ns = openNamespace(node.path("/proc/1/ns/net"));
  await node.exec("ip", ["link", "add", "br0", "type", "bridge"]);
  await node.exec("ip", ["addr", "add", "10.1.0.1/24", "dev", "br0"]);
  await node.exec("ip", ["link", "set", "br0", "up"]);
});
afterEach(async () => {
  ns.close();
  await node.close();
});

const ports = (last: number, change: Partial<Published> = {}, network = "net"): Published => ({
  label: labelOf(network, `c${last}`, "eth0"),
  name: hostLinkName(network, `c${last}`, "eth0"),
  addresses: [`10.1.0.${last}/24`, `fd00:1::${last}/64`],
  mappings: [
    { protocol: "tcp", hostPort: 8000 + last, containerPort: 80 },
    { protocol: "udp", hostPort: 8000 + last, containerPort: 53, hostIp: "192.0.2.1" },
    { protocol: "sctp", hostPort: 8000 + last, containerPort: 9 },
  ],
  hide: "near",
  ...change,
});

/** What nft lists: rules by chain, and how many elements each label has. */
async function ruleset() {
  const { stdout } = await node.exec("nft", ["-j", "list", "ruleset"]);
  const all: any[] = JSON.parse(stdout).nftables;
  const labels: Record<string, number> = {};
  for (const { map, set } of all) {
    for (const element of (map ?? set)?.elem ?? []) {
      const { comment } = (map ? element[0] : element).elem;
      labels[comment] = (labels[comment] ?? 0) + 1;
    }
  }
  return {
    rules: all.flatMap(({ rule }) => (rule ? `${rule.chain} ${rule.comment}` : [])),
    chains: all.flatMap(({ chain }) => chain?.name ?? []).sort(),
    labels,
  };
}

function refusal(body: () => void): CniError {
  try {
    body();
  } catch (error) {
    return error as CniError;
  }
  throw new Error("not refused");
}

/** An attachment of two families: 2 + 1 + 2 mappings, 3 networks that hide, and its own entry. */
const whole = 9;

test("publishing makes the rules once, whatever the number of pods, and elements of each pod", async () => {
  for (const last of [2, 3, 3]) publishPorts(ns, ports(last));
  const { rules, labels } = await ruleset();
  expect(labels).toEqual({ "net/c2/eth0": whole, "net/c3/eth0": whole });
  expect(rules).toEqual([
    "postrouting ports/sources",
    "prerouting ports/loopback",
    "prerouting ports/local",
    "output ports/local",
    "published ports/loopback",
    "published ports/mark",
    "published ports/hostports",
    "published ports/clear",
    "hostports ports/ip/at",
    "hostports ports/ip",
    "hostports ports/ip6/at",
    "hostports ports/ip6",
    "sources ports/from/ip/24",
    "sources ports/from/ip/8",
    "sources ports/from/ip6/64",
  ]);
  checkPorts(ns, ports(2));
  checkPorts(ns, ports(3));
  expect((await node.exec("sysctl", ["-n", "net.ipv4.conf.br0.route_localnet"])).stdout).toBe("1");
});

test("nothing to publish does nothing", async () => {
  expect(publishPorts(ns, ports(2, { mappings: [] }))).toEqual([]);
  expect(publishPorts(ns, ports(2, { addresses: [] }))).toEqual([]);
  checkPorts(ns, ports(2, { mappings: [] }));
  expect(withdrawPorts(ns, ports(2))).toEqual([]);
  sweepPorts(ns, { network: "net", keep: new Set() });
  expect((await ruleset()).chains).toEqual([]);
});

test("a port that another attachment holds is refused, its holder named, and nothing is changed", async () => {
  publishPorts(ns, ports(2));
  const before = await snapshot(node);
  const { message, code } = refusal(() => publishPorts(ns, ports(3, { mappings: ports(2).mappings })));
  expect(message).toBe('Cannot publish tcp port 8002 of every address: attachment "net/c2/eth0" has it');
  expect(code).toBe(codes.alreadyExists);
  expect(leftOver(before, await snapshot(node))).toEqual([]);
  // Another address, another protocol or another port is another thing.
  publishPorts(
    ns,
    ports(3, { mappings: [{ protocol: "tcp", hostPort: 8002, containerPort: 1, hostIp: "192.0.2.1" }] }),
  );
  publishPorts(ns, ports(4, { mappings: [{ protocol: "udp", hostPort: 8002, containerPort: 1 }] }));
});

test("published anew, an attachment has what it wants now and nothing else", async () => {
  publishPorts(ns, ports(2));
  const other = ports(2, { mappings: [{ protocol: "tcp", hostPort: 8002, containerPort: 81 }], hide: "all" });
  publishPorts(ns, other);
  checkPorts(ns, other);
  expect((await ruleset()).labels).toEqual({ "net/c2/eth0": 5 });
});

test("addresses of a pod that went without notice are taken over by the next one", async () => {
  publishPorts(ns, ports(2));
  const heir = ports(3, { addresses: ports(2).addresses });
  publishPorts(ns, heir);
  checkPorts(ns, heir);
  withdrawPorts(ns, ports(2)); // its DEL, late
  checkPorts(ns, heir);
});

test.each([
  ["what it published", (one: Published) => ({ ...one, ports: one })],
  ["its label alone", ({ label, name }: Published) => ({ label, name })],
  ["less than it published", (one: Published) => ({ ...one, ports: { ...one, mappings: one.mappings.slice(1) } })],
  ["something else", (one: Published) => ({ ...one, ports: { ...ports(3), label: one.label } })],
])("withdrawing by %s takes all that is the attachment's and no more, once or twice", async (_, known) => {
  publishPorts(ns, ports(2));
  publishPorts(ns, ports(3));
  const ended = withdrawPorts(ns, known(ports(2)));
  expect(
    ended.map(({ protocol, hostIp, hostPort, ip, port }) => [protocol, hostIp, hostPort, ip, port]).sort(),
  ).toEqual(
    [
      [132, undefined, 8002, "10.1.0.2", 9],
      [132, undefined, 8002, "fd00:1::2", 9],
      [17, "192.0.2.1", 8002, "10.1.0.2", 53],
      [6, undefined, 8002, "10.1.0.2", 80],
      [6, undefined, 8002, "fd00:1::2", 80],
    ].sort(),
  );
  expect(withdrawPorts(ns, known(ports(2)))).toEqual([]);
  expect((await ruleset()).labels).toEqual({ "net/c3/eth0": whole });
});

test("CHECK finds what is missing and what is different", async () => {
  const breaks: [command: string, names: string][] = [
    ["delete element inet tenon ports/ip { tcp . 8002 }", "ports/ip"],
    ["delete element inet tenon ports/from/ip/24 { 10.1.0.0 . 10.1.0.2 }", "ports/from/ip/24"],
    [
      "delete element inet tenon ports/ip { sctp . 8002 }; add element inet tenon ports/ip { sctp . 8002 : 10.1.0.9 . 9 }",
      "port 8002",
    ],
    ["flush chain inet tenon output", "ports/local"],
    ["flush chain inet tenon hostports", "ports/ip"],
    ["flush chain inet tenon sources", "ports/from"],
    ["flush chain inet tenon postrouting", "ports/sources"],
    ["delete table inet tenon", "net/c2/eth0"],
  ];
  for (const [command, names] of breaks) {
    publishPorts(ns, ports(2));
    checkPorts(ns, ports(2));
    await node.exec("nft", [command]);
    const { message, code } = refusal(() => checkPorts(ns, ports(2)));
    expect(message).toContain(names);
    expect(code).toBe(codes.checkFailed);
    await node.exec("nft", ["flush", "ruleset"]);
  }
});

test("rules that somebody took away or mixed up come back in their order, with the next new kind of port", async () => {
  publishPorts(ns, ports(2));
  await node.exec("nft", ["flush", "chain", "inet", "tenon", "published"]);
  await node.exec("nft", ["add", "rule", "inet", "tenon", "published", "counter", "comment", "mine"]);
  publishPorts(ns, ports(3, { hide: "all" }));
  const { rules } = await ruleset();
  expect(rules.filter((rule) => rule.startsWith("published"))).toEqual([
    "published mine",
    "published ports/loopback",
    "published ports/mark",
    "published ports/hostports",
    "published ports/clear",
  ]);
});

test("conditions come first, and their ports are others than those without", async () => {
  const conditions = { 4: ["-d", "192.0.2.0/24"], 6: ["-i", "eth0"] };
  publishPorts(ns, ports(2));
  publishPorts(ns, ports(3, { conditions, mappings: ports(2).mappings }));
  checkPorts(ns, ports(3, { conditions, mappings: ports(2).mappings }));
  const { stdout } = await node.exec("nft", ["list", "chain", "inet", "tenon", "hostports"]);
  const lines = stdout.split("\n").filter((line) => line.includes("dnat"));
  expect(lines[0]).toContain('iifname "eth0" dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports/if/');
  expect(lines[2]).toContain("ip daddr 192.0.2.0/24 dnat ip to ip daddr . meta l4proto . th dport map @ports/if/");
  expect(lines).toHaveLength(8);
  withdrawPorts(ns, ports(3));
  expect((await ruleset()).labels).toEqual({ "net/c2/eth0": whole });
});

test("GC ends what is not to be kept, of its network alone, and with the last of all the rules go", async () => {
  for (const last of [2, 3]) publishPorts(ns, ports(last));
  publishPorts(ns, ports(4, {}, "other"));
  sweepPorts(ns, { network: "net", keep: new Set([ports(2).label]) });
  expect((await ruleset()).labels).toEqual({ "net/c2/eth0": whole, "other/c4/eth0": whole });
  sweepPorts(ns, { network: "net", keep: new Set() });
  expect((await ruleset()).rules).toHaveLength(15);
  sweepPorts(ns, { network: "other", keep: new Set() });
  expect((await ruleset()).chains).toEqual([]);
});

test("GC leaves the masquerade in the same table, and the masquerade's GC leaves the ports", async () => {
  const masquerade = { network: "net", label: "net/c2/eth0", addresses: ["10.1.0.2/24"], exempt: [] };
  ensureMasquerade(ns, masquerade);
  const before = await snapshot(node);
  publishPorts(ns, ports(2));
  sweepPorts(ns, { network: "net", keep: new Set() });
  expect(leftOver(before, await snapshot(node))).toEqual([]);
  publishPorts(ns, ports(2));
  sweepMasquerade(ns, { network: "net", keep: new Set() });
  checkPorts(ns, ports(2));
  sweepPorts(ns, { network: "net", keep: new Set() });
  expect((await ruleset()).chains).toEqual([]);
});

test("GC leaves somebody else's rules in chains that are shared", async () => {
  publishPorts(ns, ports(2));
  await node.exec("nft", ["add", "rule", "inet", "tenon", "prerouting", "counter", "comment", "mine"]);
  sweepPorts(ns, { network: "net", keep: new Set() });
  expect(await ruleset()).toEqual({
    rules: ["prerouting mine"],
    chains: ["postrouting", "prerouting"],
    labels: {},
  });
});

test("STATUS objects to a chain that is hooked elsewhere", async () => {
  assertPublishing(ns);
  publishPorts(ns, ports(2));
  assertPublishing(ns);
  await node.exec("nft", ["delete table inet tenon; add table inet tenon"]);
  await node.exec("nft", ["add chain inet tenon output { type nat hook output priority 7 ; }"]);
  const { message, code } = refusal(() => assertPublishing(ns));
  expect(message).toContain('"output"');
  expect(code).toBe(codes.unavailable);
});

test("what nft lists it can load again", async () => {
  const conditions = { 4: ["-d", "192.0.2.0/24"], 6: ["-i", "eth0"] };
  publishPorts(ns, ports(2));
  publishPorts(ns, ports(3, { conditions }));
  const before = await snapshot(node);
  const { stdout } = await node.exec("nft", ["list", "ruleset"]);
  await node.exec("nft", ["-f", "-"], { input: `flush ruleset\n${stdout}` });
  expect(leftOver(before, await snapshot(node))).toEqual([]);
  checkPorts(ns, ports(2));
  checkPorts(ns, ports(3, { conditions }));
});

test("a thousand ports of one pod are published, found and withdrawn", async () => {
  const mappings = Array.from({ length: 1000 }, (_, at) => ({
    protocol: "tcp" as const,
    hostPort: 20000 + at,
    containerPort: 1 + at,
  }));
  const many = ports(2, { mappings, addresses: ["10.1.0.2/24"] });
  expect(publishPorts(ns, many)).toHaveLength(1000);
  checkPorts(ns, many);
  expect(withdrawPorts(ns, { ...many, ports: many })).toHaveLength(1000);
  expect((await ruleset()).labels).toEqual({});
});
