// Two nodes with a tunnel between them: the way to a pod of the other one, and where it stops when something is broken.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { explainIn, pings, said } from "../../helpers/explain.ts";
import { attach, chainOf, makeUnderlay, type Pod, peersOf, tellPeers, type Underlay } from "../../helpers/underlay.ts";

let underlay: Underlay;
let near: Pod;
let far: Pod;

beforeAll(async () => {
  underlay = await makeUnderlay(2);
  await tellPeers(underlay, peersOf(underlay, [4], [4]));
  [near, far] = (await Promise.all(
    underlay.nodes.map((node, at) => attach(node, chainOf(at, { type: "vxlan" }, [4]), `p${at + 1}`)),
  )) as [Pod, Pod];
});
afterAll(() => underlay.close());

const explained = () => explainIn(underlay.nodes[0]!, near.path, far.addresses[0]!);

test("into the tunnel, by neighbour and forwarding entry, without masquerade", async () => {
  expect(await pings(near, far.addresses[0]!, true)).toBe(true);
  const found = await explained();
  expect(found.reaches).toBe(true);
  expect(said(found, "masquerade")).toBe("none: both are in the cluster of network pods");
  expect(said(found, "tunnel")).toMatch(/^VXLAN 1 to 192\.0\.2\.2, UDP port 4789, by eth0/);
});

test("from the node itself too", async () => {
  const found = await explainIn(underlay.nodes[0]!, "node", far.addresses[0]!);
  expect([found.reaches, found.steps.at(-1)!.what]).toEqual([true, "tunnel"]);
});

test("where it stops when one piece after the other is missing", async () => {
  const node = underlay.nodes[0]!;
  const show = async (...args: string[]) => (await node.exec(args[0]!, args.slice(1))).stdout;
  const [, mac] = /lladdr (\S+)/.exec(await show("ip", "neigh", "show", "10.244.2.0", "dev", "tenon.1"))!;
  const neighbour = ["neigh", "replace", "10.244.2.0", "lladdr", mac!, "dev", "tenon.1", "nud", "permanent"];
  for (const [breaks, mends, where] of [
    [
      "ip neigh del 10.244.2.0 dev tenon.1",
      `ip ${neighbour.join(" ")}`,
      /^node: neighbour: 10\.244\.2\.0 is not known on tenon\.1, where nobody can be asked$/,
    ],
    [
      `bridge fdb del ${mac} dev tenon.1 self`,
      `bridge fdb append ${mac} dev tenon.1 dst 192.0.2.2 self permanent`,
      /^node: forwarding table: tenon\.1 does not know on which node \S+ is$/,
    ],
    [
      "ip route add prohibit 192.0.2.2",
      "ip route del prohibit 192.0.2.2",
      /^node: underlay: a route prohibits it: to the node at 192\.0\.2\.2$/,
    ],
    [
      "ip link set tenon.1 down",
      "true",
      /^node: peer: 10\.244\.2\.2 is of node n2 in network pods, but the route to it leads by 192\.0\.2\.254/,
    ],
  ] as const) {
    expect(await pings(near, far.addresses[0]!, true)).toBe(true);
    await node.exec("sh", ["-ec", breaks]);
    expect([breaks, await pings(near, far.addresses[0]!)]).toEqual([breaks, false]);
    expect((await explained()).stopped).toMatch(where);
    await node.exec("sh", ["-ec", mends]);
  }
});
