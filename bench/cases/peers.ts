// The chain of bridge and vxlan on a node with 5,000 others, beside one with 2: what an ADD costs once all are programmed, and
// what programming them costs: from nothing, and when one has changed, each by an ADD, which is where no agent does it.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { type Findings, interleaveSeries, once, type Row, row, type Samples, type Series } from "../measure.ts";
import { makeSide, must, type Node, type Options, type Side } from "../node.ts";
import { type Attachment, bridgeConf, call, outcome, type Verb, withResult } from "../pod.ts";

const counts = { few: 2, many: 5000 };

/** With IPv6, the kernel itself walks over all its routes whenever any link comes, goes or changes its MTU. */
export function measurePeers({ options }: Node): Findings {
  mkdirSync("/run/tenon/peers", { recursive: true });
  return { rows: [], peers: [...measureFamilies(options, "IPv4", 1.1), ...measureFamilies(options, "both families")] };
}

function measureFamilies(options: Options, families: string, target?: number): Row[] {
  const six = families !== "IPv4";
  const sides = Object.entries(counts).map(([name, count]) => {
    const side = { ...makeSide(`${name}${six ? 6 : 4}`, options.ours, options.scratch, 20), six, count, label: name };
    side.enter();
    must("ip", "link", "add", "uplink", "up", "type", "veth", "peer", "name", "far");
    must("ip", "link", "set", "far", "up");
    must("ip", "addr", "add", "192.0.2.1/24", "dev", "uplink");
    must("ip", "addr", "add", "2001:db8:2::1/64", "dev", "uplink", "nodad");
    writePeers(side, 0);
    return side;
  });
  // A node in use: its bridge keeps its MTU while pods come and go.
  for (const side of sides) once(side, call(side, "bridge", "ADD", resident(side), bridge(side)));
  const rounds = options.quick ? 2 : Math.min(10, options.pairs);
  const programmed = interleaveSeries(sides, rounds, [whole, changed]);
  const found = interleaveSeries(sides, options.pairs, [add, del]);
  const each = (name: string, samples: Map<string, Samples>, target?: number) =>
    row(`${name}, ${families}`, new Map(sides.map(({ name, label }) => [label, samples.get(name)!])), target, [
      "few",
      "many",
    ]);
  return [
    each("bridge and vxlan ADD, all known", found.get("ADD")!, target),
    each("bridge and vxlan DEL", found.get("DEL")!, target),
    each("vxlan ADD that programmes all from nothing", programmed.get("nothing")!),
    each("vxlan ADD after one node has changed", programmed.get("changed")!),
  ];
}

/** One that knows of so many nodes. */
type Host = Side & { six: boolean; count: number; label: string };

const byte = (at: number) => `${at >> 8}.${at & 255}`;

/** The host's snapshot; the second node has the address number `turn`. */
function writePeers(side: Host, turn: number): void {
  const ofFamilies = (...texts: string[]) => texts.slice(0, side.six ? 2 : 1);
  const nodes = Array.from({ length: side.count }, (_, at) => ({
    name: `node-${at}`,
    subnets: ofFamilies(
      at === 0 ? "10.71.0.0/16" : `10.${100 + (at >> 8)}.${at & 255}.0/24`,
      `fd00:71:${at.toString(16)}::/64`,
    ),
    addresses: ofFamilies(
      at === 0 ? "192.0.2.1" : `172.16.${byte(at)}`,
      at === 0 ? "2001:db8:2::1" : `2001:db8:9::${at.toString(16)}`,
    ),
  }));
  if (turn > 0) nodes[1]!.addresses[0] = `172.17.${byte(turn)}`;
  const text = JSON.stringify({ version: 1, network: side.name, self: "node-0", nodes });
  writeFileSync(`/run/tenon/peers/${side.name}.json`, text);
}

const vxlan = (side: Side): object => ({
  name: side.name,
  type: "vxlan",
  clusterCidrs: ["10.0.0.0/8", "fd00:71::/32"],
});
/** With the MTU that the tunnel leaves, so that nothing has to be changed later. */
const bridge = (side: Side) => ({ ...bridgeConf(side, true), name: side.name, mtu: 1450 });
const bare = { ips: [{ address: "10.71.0.2/16" }] };

const podOf = (side: Side, round: number): Attachment => ({
  id: `${side.name}-${round + 10}`,
  netns: side.pods[1 + ((round + 10) % (side.pods.length - 1))]!,
});
const resident = (side: Side): Attachment => ({ id: "resident", netns: side.pods[0]! });
const lonely = (side: Side): Attachment => ({ id: "lonely", netns: side.pods[0]!, ifname: "lo" });
const alone = (side: Side, verb: Verb) =>
  call(side, "vxlan", verb, lonely(side), withResult(vxlan(side), JSON.stringify(bare)));

const whole: Series = {
  name: "nothing",
  *commands(side) {
    rmSync(`/run/tenon/peers/${side.name}.stamp`, { force: true });
    must("bash", "-c", "ip link del tenon.1 2> /dev/null; ip route flush proto 116; nft flush ruleset");
    yield alone(side, "ADD");
  },
};

let turn = 0;
const changed: Series = {
  name: "changed",
  *commands(side) {
    writePeers(side as Host, ++turn);
    yield alone(side, "ADD");
  },
};

const results = new Map<Side, string>();

const add: Series = {
  name: "ADD",
  *commands(side, round) {
    const pod = podOf(side, round);
    const made = outcome(yield call(side, "bridge", "ADD", pod, bridge(side)));
    results.set(side, outcome(yield call(side, "vxlan", "ADD", pod, withResult(vxlan(side), made))));
  },
};

const del: Series = {
  name: "DEL",
  pause: 20,
  *commands(side, round) {
    const [pod, result] = [podOf(side, round), results.get(side)];
    yield call(side, "vxlan", "DEL", pod, withResult(vxlan(side), result));
    yield call(side, "bridge", "DEL", pod, withResult(bridge(side), result));
  },
};
