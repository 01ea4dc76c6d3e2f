// Pairs of links that somebody deletes under living pods: a healer, which enters no pod, has them made again as they were.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { repairApart } from "../../../cli/heal/apart.ts";
import type { Attachment } from "../../../cli/heal/attachments.ts";
import { hostLinkName } from "../../../lib/cni/identity.ts";
import { ask, startEcho } from "../../helpers/echo.ts";
import { type Healer, startHealer, until } from "../../helpers/healing.ts";
import { type Attached, attach, detach, type List, results } from "../../helpers/libcni.ts";
import { makeNode, type Netns, type Node, uplink } from "../../helpers/node.ts";
import { must, reference } from "../../helpers/plugin.ts";
import { leftOver, snapshot } from "../../helpers/snapshot.ts";

const routes = [{ dst: "0.0.0.0/0" }, { dst: "::/0" }];
const bridged: List = {
  cniVersion: "1.1.0",
  name: "pods",
  plugins: [
    {
      type: "bridge",
      isGateway: true,
      ipMasq: true,
      hairpinMode: true,
      macspoofchk: true,
      mtu: 1400,
      ipam: { type: "host-local", ranges: [[{ subnet: "10.1.0.0/24" }], [{ subnet: "fd00:1::/64" }]], routes },
    },
    { type: "portmap", capabilities: { portMappings: true } },
    { type: "bandwidth", ingressRate: 1e9, ingressBurst: 8e6, egressRate: 1e9, egressBurst: 8e6 },
  ],
};
const routed: List = {
  cniVersion: "1.0.0",
  name: "routed",
  plugins: [
    {
      type: "ptp",
      ipMasq: true,
      mtu: 1300,
      ipam: {
        type: "host-local",
        ranges: [[{ subnet: "10.2.0.0/24" }], [{ subnet: "fd00:2::/64" }]],
        routes,
      },
    },
  ],
};
const ports = { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }] };
const nameOf = ({ name }: List, containerId: string) => hostLinkName(name, containerId, "eth0");

let [node, healer, web, alone]: [Node, Healer, Netns, Netns] = [] as any;
let [hostBefore, podsBefore]: [string[], unknown] = [] as any;
beforeAll(async () => {
  node = await makeNode("apart", { uplink: true });
  [web, alone] = [await node.netns("web"), await node.netns("alone")];
  await attach(node, bridged, web, "w", ports);
  await attach(node, routed, alone, "r");
  await startEcho(node, web, "web", [80]);
  healer = await startHealer(node);
  hostBefore = await snapshot(node);
  podsBefore = await inside();
}, 30_000);
afterAll(async () => {
  await healer?.stop();
  await node?.close();
}, 30_000);

/** What people see of the pods' ends: all but indexes, and what the kernel counts. */
async function inside() {
  const seen = async ({ exec }: Netns) => {
    const [links, ways, ways6] = await Promise.all(
      [["addr"], ["route"], ["-6", "route"]].map(async (words) => {
        const { stdout } = await exec("ip", ["-j", ...words, "show", "dev", "eth0"]);
        return JSON.parse(stdout || "[]");
      }),
    );
    const { address, mtu, operstate, addr_info } = links[0] ?? {};
    const addresses = addr_info?.map(({ local, prefixlen, tentative }: any) => ({ local, prefixlen, tentative }));
    return { address, mtu, operstate, addresses, ways, ways6 };
  };
  return { web: await seen(web), alone: await seen(alone) };
}

/** All is as before; the device of what comes in gets another MAC address, which nobody sees. */
async function isAsBefore() {
  const passing = [/^. (link \{"ifname":"bwp|address bwp)/, /^\+ file \/run\/tenon\/helper$/, /last_reserved/];
  const differs = async () => leftOver(hostBefore, await snapshot(node), passing);
  await until(differs, (lines) => lines.length === 0);
  await until(inside, (now) => Bun.deepEquals(now, podsBefore));
}

async function links(list: List, containerId: string): Promise<number> {
  const { stdout } = await node.exec("ip", ["-o", "link"]);
  return stdout.split("\n").filter((line) => line.includes(` ${nameOf(list, containerId)}@`)).length;
}

const losses: [what: string, list: List, id: string, from: () => Node | Netns, name: () => string][] = [
  ["a bridged pod's pair, from the host", bridged, "w", () => node, () => nameOf(bridged, "w")],
  ["a bridged pod's pair, from inside the pod", bridged, "w", () => web, () => "eth0"],
  ["a routed pod's pair, from the host", routed, "r", () => node, () => nameOf(routed, "r")],
  ["a routed pod's pair, from inside the pod", routed, "r", () => alone, () => "eth0"],
];
test.each(losses)("comes back as it was, and is counted: %s", async (_, list, id, from, name) => {
  const link = ({ kind, name }: { kind: string; name: string }) => kind === "link" && name === nameOf(list, id);
  const before = healer.repaired.filter(link).length;
  await from().exec("ip", ["link", "delete", name()]);
  await until(
    () => healer.repaired.filter(link).length,
    (count) => count > before,
  );
  await isAsBefore();
  expect((await healer.counters()).failures).toBe(0);
  for (const [pod, gateways] of [
    [web, ["10.1.0.1", "fd00:1::1"]],
    [alone, ["10.2.0.1", "fd00:2::1", "10.1.0.2"]],
  ] as const)
    for (const address of [...gateways, ...uplink.outside]) await pod.exec("ping", ["-c1", "-W2", address]);
  expect(await ask(node.outside!, [["tcp", uplink.node[0], 8080]])).toEqual([`web ${uplink.outside[0]}`]);
});

test("all pairs and the bridge at once come back, and the same by tenon repair", async () => {
  const command = `ip link delete ${nameOf(bridged, "w")}; ip link delete ${nameOf(routed, "r")}; ip link delete cni0`;
  await node.exec("bash", ["-ec", command]);
  await isAsBefore();
  await healer.stop();
  await node.exec("bash", ["-ec", command]);
  const main = new URL("../../../cli/main.ts", import.meta.url).pathname;
  const repair = (...args: string[]) =>
    node.exec(process.execPath, [main, "repair", "--json", ...args], { reject: false });
  const dry = await repair("--dry-run", "--attachment", "routed/r/eth0");
  expect(dry.exitCode).toBe(1);
  expect(JSON.parse(dry.stdout).repairs).toMatchObject([{ kind: "link", attachment: "routed/r/eth0" }]);
  expect(await links(routed, "r")).toBe(0);
  expect((await repair()).exitCode).toBe(0);
  await isAsBefore();
  expect(JSON.parse((await repair()).stdout).repairs).toEqual([]);
  healer = await startHealer(node);
}, 20_000);

test("what another process does is told by attachment, and its silence is an error", async () => {
  const one = { label: "pods/x/eth0", file: "/none/x" } as Attachment;
  const repairs = [
    { kind: "link", name: "tn1", why: "gone", attachment: "pods/x/eth0" },
    { kind: "link", name: "tn2", why: "gone", attachment: "pods/y/eth0" },
  ];
  const saying = (text: string) => ["sh", "-c", 'echo "$1"', "sh", text];
  expect(await repairApart([one], saying(JSON.stringify({ repairs })))).toEqual([
    [one, [{ kind: "link", name: "tn1", why: "gone" }]],
  ]);
  const failure = await repairApart([one], ["false"]).catch(({ message }) => message);
  expect(failure).toStartWith("Cannot run false repair: Command failed");
});

test("a pod whose namespace goes gets nothing, and nothing of its link is left", async () => {
  const pod = await node.netns("going");
  const attached = await attach(node, bridged, pod, "g");
  const { failures } = await healer.counters();
  await node.exec("bash", ["-ec", `ip link delete ${nameOf(bridged, "g")} & ip netns delete going; wait`]);
  await Bun.sleep(1000);
  expect(await links(bridged, "g")).toBe(0);
  expect((await healer.counters()).failures).toBe(failures);
  expect(healer.repaired.filter(({ kind, name }) => kind === "link" && name === nameOf(bridged, "g"))).toEqual([]);
  await detach(node, bridged, attached);
});

test("a DEL is not undone, also where its runtime forgets the attachment late", async () => {
  const pod = await node.netns("leaving");
  const attached: Attached = await attach(node, bridged, pod, "l");
  await detach(node, bridged, attached, {}, pod.path);
  await Bun.sleep(500);
  expect(await links(bridged, "l")).toBe(0);

  // The plugins are done, the runtime sleeps: what was made meanwhile goes as soon as it has forgotten.
  const again = await attach(node, bridged, pod, "late");
  for (const plugin of [...bridged.plugins].reverse()) {
    const conf = { cniVersion: "1.1.0", name: "pods", ...plugin, prevResult: again.result };
    await must(node, "DEL", conf, { netns: pod.path, containerId: "late" });
  }
  await until(
    () => links(bridged, "late"),
    (count) => count === 1,
  );
  await node.exec("rm", [again.file]);
  await until(
    () => links(bridged, "late"),
    (count) => count === 0,
  );
  await pod.close();
  await isAsBefore();
}, 20_000);

test("a link of that name in the pod, and a pod of another suite, are left alone", async () => {
  const pod = await node.netns("own");
  await attach(node, bridged, pod, "o");
  const { failures } = await healer.counters();
  await pod.exec("bash", ["-ec", "ip link delete eth0; ip link add eth0 type veth peer name other"]);
  const foreign = await node.netns("foreign");
  const list = { ...bridged, cniVersion: "1.0.0", name: "foreign", plugins: bridged.plugins.slice(0, 1) };
  const conf = { cniVersion: "1.0.0", name: "foreign", ...list.plugins[0], macspoofchk: false };
  const made = await must(node, "ADD", conf, { netns: foreign.path, containerId: "f", bin: reference });
  const cached = {
    kind: "cniCacheV1",
    containerId: "f",
    config: btoa(JSON.stringify(list)),
    ifName: "eth0",
    networkName: "foreign",
    result: made,
  };
  await Bun.write(node.path(`${results}/foreign-f-eth0`), JSON.stringify(cached));
  await foreign.exec("ip", ["link", "delete", "eth0"]);
  await Bun.sleep(1000);
  expect(await links(bridged, "o")).toBe(0);
  expect((await pod.exec("ip", ["-o", "link", "show", "eth0"])).stdout).toContain("eth0@other");
  expect((await foreign.exec("ip", ["-o", "link"])).stdout).not.toContain("eth0");
  expect(await links(list, "f")).toBe(0);
  expect((await healer.counters()).failures).toBe(failures);
});
