// What crosses from a pod of one node to a pod of another, by `routes` and by `vxlan`, beside the same set-up made by hand with
// iproute2: one stream of TCP by iperf3. The nodes are hosts joined by a pair of links.
import { mkdirSync, writeFileSync } from "node:fs";
import { type Findings, interleave, once, type Row, row } from "../measure.ts";
import { feed, makeSide, must, type Node, type Options, type Side } from "../node.ts";
import { BRIDGE, call, outcome, withResult } from "../pod.ts";

const modes = ["routes", "vxlan"] as const;
type Mode = (typeof modes)[number];

/** One of two nodes: number 1 has 192.0.2.1 and pods in 10.71.1.0/24, number 2 the same with a 2; its pod has the .2 of these. */
type Host = Side & { at: 1 | 2; to: 1 | 2 };

const VNI = 71;
const MTU = { routes: 1500, vxlan: 1450 };
const macOf = (at: number) => `02:00:00:00:71:0${at}`;

export function measureAcross({ options }: Node): Findings {
  const iperf = Bun.which("iperf3");
  if (!iperf) throw new Error("there is no iperf3 here");
  return { rows: [], across: modes.map((mode) => measureMode(mode, iperf, options)) };
}

function measureMode(mode: Mode, iperf: string, options: Options): Row {
  const sides = [makePair("hand", mode, byHand, options), makePair("ours", mode, byPlugins, options)];
  const enter = (pod: string) => ["nsenter", `--net=${pod}`];
  for (const [, second] of sides) must(...enter(second.pods[0]!), iperf, "-s", "-D");
  const firsts = sides.map(([first]) => first);
  const found = interleave(firsts, options.quick ? 2 : Math.min(16, options.pairs), [
    {
      name: "stream",
      command: ({ pods }) => ({
        path: Bun.which("nsenter")!,
        args: [`--net=${pods[0]}`, iperf, "-c", "10.71.2.2", "-n", "1G"],
        env: {},
        input: "",
      }),
    },
  ]).get("stream")!;
  const samples = new Map(firsts.map(({ name, label }) => [label, found.get(name)!]));
  return row(`1 GiB by ${mode}`, samples, undefined, ["hand", "ours"]);
}

/** Two hosts of a side, joined, each with a pod that `attach` puts there. */
function makePair(label: string, mode: Mode, attach: (host: Host, mode: Mode) => void, options: Options) {
  const make = (at: 1 | 2, to: 1 | 2) => {
    const side = makeSide(`${label}-${mode}-${at}`, options.ours, options.scratch, 1);
    return { ...side, at, to, label };
  };
  const [first, second] = [make(1, 2), make(2, 1)];
  first.enter();
  must("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "uplink", "netns", second.name);
  for (const host of [first, second]) {
    host.enter();
    must("ip", "addr", "add", `192.0.2.${host.at}/24`, "dev", "uplink");
    must("ip", "link", "set", "uplink", "up");
    writeFileSync("/proc/sys/net/ipv4/ip_forward", "1");
  }
  for (const host of [first, second]) attach(host, mode);
  return [first, second] as const;
}

/** As a manual would have it. */
function byHand({ at, to, pods, enter }: Host, mode: Mode): void {
  enter();
  const ip = (words: string) => must("ip", ...words.split(" "));
  ip(`link add ${BRIDGE} mtu ${MTU[mode]} type bridge`);
  ip(`addr add 10.71.${at}.1/24 dev ${BRIDGE}`);
  ip(`link set ${BRIDGE} up`);
  const pod = pods[0]!;
  ip(
    `link add port mtu ${MTU[mode]} type veth peer name eth0 mtu ${MTU[mode]} netns ${pod.slice(pod.lastIndexOf("/") + 1)}`,
  );
  ip(`link set port master ${BRIDGE} up`);
  const inside = (words: string) => must("nsenter", `--net=${pod}`, "ip", ...words.split(" "));
  inside(`addr add 10.71.${at}.2/24 dev eth0`);
  inside("link set eth0 up");
  inside(`route add default via 10.71.${at}.1`);
  // Pods are hidden from the outside and not from each other: with that the kernel follows connections, which costs.
  const cluster = "10.71.0.0/16";
  feed(
    `table inet nat {
       chain postrouting {
         type nat hook postrouting priority srcnat
         ip saddr ${cluster} ip daddr { ${cluster}, 192.0.2.0/24 } accept
       }
     }`,
    ...["nft", "-f", "-"],
  );
  if (mode === "routes") {
    ip(`route add 10.71.${to}.0/24 via 192.0.2.${to}`);
    return;
  }
  ip(
    `link add tunnel address ${macOf(at)} type vxlan id ${VNI} dstport 4789 local 192.0.2.${at} dev uplink nolearning`,
  );
  ip(`addr add 10.71.${at}.0/32 dev tunnel`);
  ip("link set tunnel up");
  ip(`neigh add 10.71.${to}.0 lladdr ${macOf(to)} dev tunnel nud permanent`);
  must("bridge", "fdb", "add", macOf(to), "dev", "tunnel", "dst", `192.0.2.${to}`);
  ip(`route add 10.71.${to}.0/24 via 10.71.${to}.0 dev tunnel onlink`);
  // From pods to the other node's address by the tunnel too.
  ip(`rule add from 10.71.${at}.0/24 lookup ${VNI} priority 11600`);
  ip(`route add 192.0.2.${to}/32 via 10.71.${to}.0 dev tunnel onlink table ${VNI}`);
}

/** With a network of its own for each node, as both look into the same /run. */
function byPlugins(host: Host, mode: Mode): void {
  const { name, at, pods } = host;
  const nodes = [1, 2].map((one) => ({
    name: `node-${one}`,
    subnets: [`10.71.${one}.0/24`],
    addresses: [`192.0.2.${one}`],
    mac: macOf(one),
  }));
  mkdirSync("/run/tenon/peers", { recursive: true });
  writeFileSync(
    `/run/tenon/peers/${name}.json`,
    JSON.stringify({ version: 1, network: name, self: `node-${at}`, nodes }),
  );
  const pod = { id: name, netns: pods[0]! };
  const ipam = {
    type: "host-local",
    dataDir: host.state,
    ranges: [[{ subnet: `10.71.${at}.0/24` }]],
    routes: [{ dst: "0.0.0.0/0" }],
  };
  const bridge = { name, type: "bridge", bridge: BRIDGE, isGateway: true, mtu: MTU[mode], ipam };
  const made = outcome(once(host, call(host, "bridge", "ADD", pod, bridge)));
  const paths = { name, type: mode, ...(mode === "vxlan" ? { vni: VNI } : {}) };
  once(host, call(host, mode, "ADD", pod, withResult(paths, made)));
}
