// Verbs of the plugin, and what stands in its way. Packets: test/peers/paths.test.ts; what it shares with vxlan: vxlan.test.ts.
import { expect, test } from "bun:test";
import type { PeerNode } from "../../lib/peers/snapshot.ts";
import { contract } from "../helpers/contract.ts";
import { makeNode, type Node } from "../helpers/node.ts";
import { type Call, call, errorOf, must } from "../helpers/plugin.ts";
import { tell } from "../helpers/underlay.ts";

/** A result in the words of every version at once; each one reads its own. */
const prevResult = { ips: [{ version: "4", address: "10.1.1.2/24" }], ip4: { ip: "10.1.1.2/24" } };
const peer = (at: number, addresses: string[], subnets = [`10.1.${at}.0/24`, `fd00:1:${at}::/64`]): PeerNode => ({
  name: `n${at}`,
  subnets,
  addresses,
});
const self = peer(1, ["192.0.2.1", "2001:db8:2::1"]);
const beside = peer(2, ["192.0.2.2", "2001:db8:2::2"]);
const behind = peer(3, ["198.51.100.3", "2001:db8:51::3"]);

contract("routes", {
  conf: { prevResult },
  exclusive: false,
  stays: /^\+ (route .*"(gateway":"(192.0.2.2|2001:db8:2::2)|type":"blackhole)|nft |file \/run\/tenon\/)/,
  bad: [
    { change: { metric: -1 }, names: ["metric", "-1"] },
    { change: { table: 0 }, names: ["table", "0"] },
    { change: { offSubnet: "drop" }, names: ["offSubnet", "drop"], code: 2 },
    { change: { underlay: "eth9" }, names: ["eth9"], code: 50 },
    { change: { peers: "/run/none.json" }, names: ["/run/none.json"], code: 11 },
    { change: { prevResult: undefined }, names: ["prevResult"] },
  ],
  async prepare(node) {
    await tell(node, "n1", [self, beside], "contract");
  },
});

const conf = (more = {}) => ({ cniVersion: "1.1.0", name: "pods", type: "routes", prevResult, ...more });

async function started(peers: PeerNode[]): Promise<{ node: Node; at: Call }> {
  const node = await makeNode("routes", { uplink: true });
  await tell(node, "n1", peers);
  const pod = await node.netns("pod");
  return { node, at: { netns: pod.path, ifname: "lo" } };
}
const shell = async (node: Node, line: string) => (await node.exec("bash", ["-ec", line])).stdout;
const ours = async (node: Node, table = "main") =>
  (await shell(node, `ip route show table ${table} proto 116; ip -6 route show table ${table} proto 116`))
    .split("\n")
    .map((line) => line.trim().replace(/ pref medium$/, ""));

test("ADD makes a route to each node's pods by the node, and none out of the node for its own", async () => {
  const { node, at } = await started([self, beside]);
  await using _ = node;
  expect(await must(node, "ADD", conf(), at)).toMatchObject({ ips: [{ address: "10.1.1.2/24" }] });
  expect(await ours(node)).toEqual([
    "blackhole 10.1.1.0/24 metric 65535",
    "10.1.2.0/24 via 192.0.2.2 dev eth0",
    "blackhole fd00:1:1::/64 dev lo metric 65535",
    "fd00:1:2::/64 via 2001:db8:2::2 dev eth0 metric 1024",
  ]);
  expect(await shell(node, "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding")).toBe("1\n1");
  await must(node, "CHECK", conf(), at);
  // The hole is behind every route that leads to pods, of whatever plugin.
  await shell(node, "ip link add cni0 type bridge; ip link set cni0 up; ip addr add 10.1.1.1/24 dev cni0");
  expect(await shell(node, "ip route get 10.1.1.9")).toContain("dev cni0");
  await must(node, "CHECK", conf(), at);
  await shell(node, "ip route del 10.1.2.0/24");
  expect(errorOf(await call(node, "CHECK", conf(), at))).toMatchObject({
    code: 101,
    msg: expect.stringContaining("10.1.2.0/24"),
  });
  await must(node, "GC", { ...conf(), "cni.dev/valid-attachments": [] });
  await must(node, "CHECK", conf(), at);
  await must(node, "STATUS", conf());
});

test("metric, table, and no hole, as the configuration says; a change of it leaves nothing behind", async () => {
  const { node, at } = await started([self, beside]);
  await using _ = node;
  await must(node, "ADD", conf({ metric: 50, table: 100, blackhole: false }), at);
  expect(await ours(node)).toEqual([""]);
  expect(await ours(node, "100")).toEqual([
    "10.1.2.0/24 via 192.0.2.2 dev eth0 metric 50",
    "fd00:1:2::/64 via 2001:db8:2::2 dev eth0 metric 50",
  ]);
  await must(node, "ADD", conf({ metric: 60, table: 100, blackhole: false }), at);
  expect((await ours(node, "100")).length).toBe(2);
  await must(node, "ADD", conf({ blackhole: false }), at);
  expect((await ours(node)).length).toBe(2);
  expect(await ours(node, "100")).toEqual([""]);
});

test("a node behind a router is an error, skipped, or reached by the overlay", async () => {
  const { node, at } = await started([self, beside, behind]);
  await using _ = node;
  const refused = errorOf(await call(node, "ADD", conf(), at));
  expect(refused.msg).toContain('Cannot reach node "n3": its address 198.51.100.3 is on no subnet of this host');
  expect(errorOf(await call(node, "STATUS", conf())).code).toBe(50);
  expect((await ours(node)).filter((line) => line.includes("via")).length).toBe(2);
  await must(node, "ADD", conf({ offSubnet: "skip" }), at);
  await must(node, "STATUS", conf({ offSubnet: "skip" }));
  await must(node, "ADD", conf({ offSubnet: "overlay" }), at);
  expect(await ours(node)).toContain("10.1.3.0/24 via 10.1.3.0 dev tenon.1 src 192.0.2.1 onlink");
  expect(await ours(node)).toContain("10.1.2.0/24 via 192.0.2.2 dev eth0");
  await must(node, "ADD", conf({ offSubnet: "skip" }), at);
  expect(await shell(node, "ip -br link show type vxlan; ip rule")).not.toMatch(/tenon|116/);
  expect((await ours(node)).filter((line) => line.includes("via")).length).toBe(2);
});

test("a node without an address of a family that its pods have is named", async () => {
  const { node, at } = await started([self, peer(2, ["192.0.2.2"])]);
  await using _ = node;
  expect(errorOf(await call(node, "ADD", conf(), at)).msg).toContain(
    'Cannot reach node "n2": it has no IPv6 address for its pods\' network fd00:1:2::/64',
  );
});

test("two networks on one host leave each other's routes alone, and what others made", async () => {
  const { node, at } = await started([self, beside]);
  await using _ = node;
  const other = [peer(1, ["192.0.2.1"], ["10.2.1.0/24"]), peer(2, ["192.0.2.2"], ["10.2.2.0/24"])];
  await tell(node, "n1", other, "other");
  await must(node, "ADD", conf(), at);
  await must(node, "ADD", conf({ name: "other" }), at);
  // As ptp makes them for pods of this host, with the same protocol; and one that somebody else made.
  await shell(
    node,
    "ip link add tn0 type veth peer name x; ip link set tn0 up; ip route add 10.1.1.7/32 dev tn0 proto 116",
  );
  await shell(node, "ip route add 10.9.0.0/16 via 192.0.2.9");
  const before = await shell(node, "ip route; ip -6 route show proto 116");
  await must(node, "GC", { ...conf(), "cni.dev/valid-attachments": [] });
  await must(node, "GC", { ...conf({ name: "other" }), "cni.dev/valid-attachments": [] });
  await must(node, "CHECK", conf(), at);
  expect(await shell(node, "ip route; ip -6 route show proto 116")).toBe(before);
  await tell(node, "n1", [other[0]!], "other");
  await must(node, "ADD", conf({ name: "other" }), at);
  const left = await shell(node, "ip route; ip -6 route show proto 116");
  expect(left).toBe(
    before
      .split("\n")
      .filter((line) => !line.startsWith("10.2.2.0/24"))
      .join("\n"),
  );
});

test("the named underlay alone counts", async () => {
  const { node, at } = await started([self, beside]);
  await using _ = node;
  await shell(
    node,
    "ip link add spare type veth peer name x; ip link set x up; ip link set spare up; ip addr add 203.0.113.1/24 dev spare",
  );
  const refused = errorOf(await call(node, "ADD", conf({ underlay: "spare" }), at));
  expect(refused.msg).toContain('Cannot reach node "n2": its address 192.0.2.2 is on no subnet');
  await must(node, "ADD", conf({ underlay: "eth0" }), at);
});
