// Pods and nodes of several nodes reach each other by their own addresses: overlay and native, both families, with masquerade
// on, whatever the filters of reverse paths and bridges say. What leaves the cluster hides behind its node.
import { expect, test } from "bun:test";
import { ask, startEcho } from "../helpers/echo.ts";
import { soak } from "../helpers/plugin.ts";
import {
  attach,
  chainOf,
  everyPair,
  makeUnderlay,
  type Party,
  peersOf,
  tellPeers,
  type Underlay,
} from "../helpers/underlay.ts";

type Families = readonly (4 | 6)[];
const familyOf = (address: string) => (address.includes(":") ? 6 : 4);

/** A pod on each node, and the nodes themselves, after every node knows of the others. */
async function partiesOf(
  underlay: Underlay,
  last: object,
  pods: Families,
  nodes: Families,
  bridge = {},
): Promise<Party[]> {
  await tellPeers(underlay, peersOf(underlay, pods, nodes));
  const parties = await Promise.all(
    underlay.nodes.map(async (node, at): Promise<Party[]> => {
      const pod = await attach(node, chainOf(at, { ...last }, pods, bridge), `p${at + 1}`);
      const own = underlay.addresses(at).filter((address) => pods.includes(familyOf(address)));
      // Where the snapshot has an address of the family, others see the node by that, and by nothing else.
      const known = own.filter((address) => nodes.includes(familyOf(address)));
      const bases = pods.map((family) => (family === 4 ? `10.244.${at + 1}.0` : `fd00:${at + 1}::`));
      return [
        { name: pod.name, node, pod, addresses: pod.addresses, seenAs: pod.addresses },
        {
          name: node.name,
          node,
          addresses: known,
          seenAs: known.length === pods.length ? known : [...known, ...bases],
        },
      ];
    }),
  );
  return parties.flat();
}

/** Strictness of the reverse path filter, and whether bridged packets pass the host's filters. */
type Settings = [reversePath: 0 | 1 | 2, bridged: 0 | 1];
const all: Settings[] = [0, 1, 2].flatMap((filter) => [0, 1].map((bridged) => [filter, bridged] as Settings));

async function set(underlay: Underlay, [filter, bridged]: Settings): Promise<void> {
  const script = `for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo ${filter} > $file; done
    for family in ip ip6; do echo ${bridged} > /proc/sys/net/bridge/bridge-nf-call-\${family}tables; done`;
  await Promise.all(underlay.nodes.map((node) => node.exec("bash", ["-ec", script])));
}

async function expectAll(underlay: Underlay, parties: readonly Party[], settings: readonly Settings[]): Promise<void> {
  for (const one of settings) {
    await set(underlay, one);
    expect({ settings: one, wrong: await everyPair(parties) }).toEqual({ settings: one, wrong: [] });
  }
}

/** A pod asks the router, which is outside of the cluster: by whose address. */
async function expectHidden(underlay: Underlay, parties: readonly Party[]): Promise<void> {
  const server = await startEcho(underlay.fabric, { path: "/proc/1/ns/net" }, "outside", [7778]);
  for (const [at] of underlay.nodes.entries()) {
    const pod = parties.find(({ name }) => name === `p${at + 1}`)!;
    const known = pod.addresses.map((address) => (familyOf(address) === 4 ? 0 : 1));
    const targets = known.map((which): ["tcp", string, number] => ["tcp", underlay.router(at)[which]!, 7778]);
    const answers = await ask(pod.pod!, targets);
    expect(answers).toEqual(known.map((which) => `outside ${underlay.addresses(at)[which]}`));
  }
  await server.stop();
}

test("vxlan, two nodes on one subnet, both families", async () => {
  await using underlay = await makeUnderlay(2);
  const parties = await partiesOf(underlay, { type: "vxlan" }, [4, 6], [4, 6]);
  expect(parties[0]!.pod!.result.interfaces.map(({ mtu }: any) => mtu)).toEqual([1450, 1450, 1450]);
  await expectAll(underlay, parties, soak ? all : [[0, 0], [1, 1], [2, 0]]); // biome-ignore format: a list
  await expectHidden(underlay, parties);
}, 60_000);

test("vxlan, three nodes on two routed subnets, the tunnel over IPv6", async () => {
  await using underlay = await makeUnderlay(3, { subnets: [0, 0, 1], mtu: 9000 });
  const parties = await partiesOf(underlay, { type: "vxlan", underlayFamily: "ipv6" }, [4, 6], [4, 6], { mtu: 9000 });
  expect(parties[0]!.pod!.result.interfaces.slice(1).map(({ mtu }: any) => mtu)).toEqual([8930, 8930]);
  await expectAll(underlay, parties, soak ? all : [[1, 1]]);
  await expectHidden(underlay, parties);
}, 60_000);

test("vxlan, pods of one family over nodes of the other", async () => {
  await using underlay = await makeUnderlay(2, { subnets: [0, 1] });
  const parties = await partiesOf(underlay, { type: "vxlan" }, [4], [6]);
  await expectAll(underlay, parties, soak ? all : [[1, 0]]);
}, 60_000);

test("vxlan with direct routing: plain routes on the same subnet, the tunnel to the other", async () => {
  await using underlay = await makeUnderlay(3, { subnets: [0, 0, 1] });
  const parties = await partiesOf(underlay, { type: "vxlan", directRouting: true }, [4, 6], [4, 6]);
  const routes = (await underlay.nodes[0]!.exec("ip", ["route", "show", "proto", "116"])).stdout;
  expect(routes).toContain("10.244.2.0/24 via 192.0.2.2 dev eth0");
  expect(routes).toContain("10.244.3.0/24 via 10.244.3.0 dev tenon.1 src 192.0.2.1 onlink");
  await expectAll(underlay, parties, soak ? all : [[1, 1]]);
}, 60_000);

test("routes, two nodes on one subnet, both families", async () => {
  await using underlay = await makeUnderlay(2);
  const parties = await partiesOf(underlay, { type: "routes" }, [4, 6], [4, 6]);
  expect(parties[0]!.pod!.result.interfaces.map(({ mtu }: any) => mtu)).toEqual([1500, 1500, 1500]);
  await expectAll(underlay, parties, soak ? all : [[0, 1], [1, 0], [2, 1]]); // biome-ignore format: a list
  await expectHidden(underlay, parties);
}, 60_000);

test("routes, three nodes, one of them behind a router by the overlay", async () => {
  await using underlay = await makeUnderlay(3, { subnets: [0, 0, 1] });
  const parties = await partiesOf(underlay, { type: "routes", offSubnet: "overlay", vni: 7 }, [4, 6], [4, 6]);
  await expectAll(underlay, parties, soak ? all : [[1, 1]]);
}, 60_000);
