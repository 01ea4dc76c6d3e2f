// Nodes around a network: each a throw-away node (node.ts) with an eth0 in a subnet of the fabric, which is a node too: a bridge
// for each subnet, a router between them, and the world outside of the cluster.
//
//   await using underlay = await makeUnderlay(3, { subnets: [0, 0, 1], mtu: 1500 });
//   underlay.nodes[0]            eth0 192.0.2.1/24 and 2001:db8:2::1/64, default routes by the router's .254 and ::fe
//   underlay.nodes[2]            in subnet 1: 198.51.100.3/24, 2001:db8:51::3/64
import { execa } from "execa";
import type { PeerNode } from "../../lib/peers/snapshot.ts";
import { ask, startEcho } from "./echo.ts";
import { makeNode, type Netns, type Node } from "./node.ts";
import { call, must, type Outcome } from "./plugin.ts";

const prefixes = [
  { four: "192.0.2", six: "2001:db8:2:" },
  { four: "198.51.100", six: "2001:db8:51:" },
] as const;

export interface Underlay extends AsyncDisposable {
  nodes: Node[];
  /** The router; knows of nodes and of no pod. */
  fabric: Node;
  /** The addresses of a node: IPv4, IPv6. */
  addresses(at: number): [string, string];
  /** Addresses of the router beside a node, which is outside of the cluster. */
  router(at: number): [string, string];
  close(): Promise<void>;
}

export interface UnderlayOptions {
  /** Which subnet each node is in; default all in 0. */
  subnets?: number[];
  mtu?: number;
}

/** Makes nodes and what is between them. */
export async function makeUnderlay(
  count: number,
  { subnets = [], mtu = 1500 }: UnderlayOptions = {},
): Promise<Underlay> {
  const made: Node[] = [];
  const close = async () => {
    await Promise.all(made.map((node) => node.close()));
  };
  const subnetOf = (at: number) => prefixes[subnets[at] ?? 0]!;
  const addresses = (at: number): [string, string] => {
    const { four, six } = subnetOf(at);
    return [`${four}.${at + 1}`, `${six}:${at + 1}`];
  };
  const router = (at: number): [string, string] => [`${subnetOf(at).four}.254`, `${subnetOf(at).six}:fe`];
  try {
    const all = await Promise.allSettled(
      Array.from({ length: count + 1 }, (_, at) => makeNode(at ? `n${at}` : "fabric")),
    );
    for (const one of all) if (one.status === "fulfilled") made.push(one.value);
    for (const one of all) if (one.status === "rejected") throw one.reason;
    const [fabric, ...nodes] = made as [Node, ...Node[]];
    const used = [...new Set(nodes.map((_, at) => subnets[at] ?? 0))];
    // While links test their link-local addresses, a second and more, a host looks for no neighbour on behalf of others.
    await Promise.all(made.map((node) => node.exec("sysctl", ["-qw", "net.ipv6.conf.default.accept_dad=0"])));
    await fabric.exec("bash", [
      "-ec",
      `sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
       ${used.map((at) => `ip link add br${at} type bridge; ip link set br${at} mtu ${mtu} up; ip addr add ${prefixes[at]!.four}.254/24 dev br${at}; ip addr add ${prefixes[at]!.six}:fe/64 dev br${at} nodad`).join("\n")}`,
    ]);
    // Both ends are named by paths that only the test process sees, so the pair is made from there.
    for (const [at, node] of nodes.entries()) {
      const into = ["--net=" + fabric.path("/proc/1/ns/net"), "ip", "link", "add", `port${at}`, "mtu", `${mtu}`];
      await execa("nsenter", [
        ...into,
        "up",
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "mtu",
        `${mtu}`,
        "netns",
        node.path("/proc/1/ns/net"),
      ]);
    }
    await fabric.exec("bash", [
      "-ec",
      nodes.map((_, at) => `ip link set port${at} master br${subnets[at] ?? 0}`).join("\n"),
    ]);
    await Promise.all(
      nodes.map((node, at) =>
        node.exec("bash", [
          "-ec",
          `ip addr add ${addresses(at)[0]}/24 dev eth0; ip addr add ${addresses(at)[1]}/64 dev eth0 nodad; ip link set eth0 up
           for try in $(seq 150); do case "$(ip -o link show eth0)" in *"state UP"*) break ;; esac; sleep 0.02; done
           ip route add default via ${router(at)[0]}; ip route add default via ${router(at)[1]}`,
        ]),
      ),
    );
    return { nodes, fabric, addresses, router, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The pods' networks of a node, by family. */
export const subnetsOf = (at: number, families: readonly (4 | 6)[] = [4, 6]): string[] =>
  families.map((family) => (family === 4 ? `10.244.${at + 1}.0/24` : `fd00:${at + 1}::/64`));

/** The nodes of an underlay as a snapshot has them. */
export function peersOf(underlay: Underlay, pods: readonly (4 | 6)[], nodes: readonly (4 | 6)[] = [4, 6]): PeerNode[] {
  return underlay.nodes.map((_, at) => ({
    name: `n${at + 1}`,
    subnets: subnetsOf(at, pods),
    addresses: underlay.addresses(at).filter((address) => nodes.includes(address.includes(":") ? 6 : 4)),
  }));
}

/** Gives every node its snapshot. */
export async function tellPeers(underlay: Underlay, peers: readonly PeerNode[], network = "pods"): Promise<void> {
  await Promise.all(underlay.nodes.map((node, at) => tell(node, `n${at + 1}`, peers, network)));
}

/** Gives one node its snapshot, in the place of the one that it has. */
export async function tell(node: Node, self: string, peers: readonly PeerNode[], network = "pods"): Promise<void> {
  const text = JSON.stringify({ version: 1, network, self, nodes: peers });
  const path = `/run/tenon/peers/${network}.json`;
  await node.exec("bash", ["-ec", `mkdir -p /run/tenon/peers; cat > ${path}.new; mv ${path}.new ${path}`], {
    input: text,
  });
}

/** A network of two plugins on a node: bridge with host-local, then the one that leads to other nodes. */
export interface Chain {
  bridge: Record<string, unknown>;
  last: Record<string, unknown>;
}

export function chainOf(
  at: number,
  last: Record<string, unknown>,
  families: readonly (4 | 6)[] = [4, 6],
  more = {},
): Chain {
  const common = { cniVersion: "1.1.0", name: "pods" };
  const ranges = subnetsOf(at, families).map((subnet) => [{ subnet }]);
  const routes = families.map((family) => ({ dst: family === 4 ? "0.0.0.0/0" : "::/0" }));
  const ipam = { type: "host-local", ranges, routes };
  return {
    bridge: { ...common, type: "bridge", isGateway: true, ipMasq: true, ipam, ...more },
    last: { ...common, ...last },
  };
}

/** A pod, its addresses, and the result of the whole chain. */
export interface Pod extends Netns {
  addresses: string[];
  result: any;
}

/** Attaches a pod by the chain. */
export async function attach(node: Node, chain: Chain, name: string): Promise<Pod> {
  const pod = await node.netns(name);
  const at = { containerId: name, netns: pod.path };
  const prevResult = await must(node, "ADD", chain.bridge, at);
  const result = await must(node, "ADD", { ...chain.last, prevResult }, at);
  return { ...pod, result, addresses: result.ips.map(({ address }: any) => address.split("/")[0]) };
}

/** Any other verb of the chain's last plugin for a pod. */
export function ofPod(node: Node, verb: string, chain: Chain, pod: Pod, more = {}): Promise<Outcome> {
  return call(
    node,
    verb,
    { ...chain.last, prevResult: pod.result, ...more },
    { containerId: pod.name, netns: pod.path },
  );
}

/** Someone who can ask and be asked: a node, or a pod on it. */
export interface Party {
  name: string;
  node: Node;
  /** Path of the pod's namespace. */
  pod?: Pod;
  addresses: string[];
  /** What others may see it as: a node has addresses of its tunnel's device too. */
  seenAs: string[];
}

const port = 7777;

/**
 * Lets everybody ask everybody else on another node, by TCP, UDP and ping; what went wrong, in words: no answer, or the answer
 * that somebody else seemed to ask.
 */
export async function everyPair(parties: readonly Party[]): Promise<string[]> {
  const servers = await Promise.all(
    parties.map(({ node, pod, name }) => startEcho(node, { path: pod?.path ?? "/proc/1/ns/net" }, name, [port])),
  );
  try {
    const wrong = await Promise.all(
      parties.map(async (from) => {
        const targets = parties
          .filter(({ node }) => node !== from.node)
          .flatMap((to) => to.addresses.map((address) => ({ to, address })))
          .filter(({ address }) => from.addresses.some((own) => own.includes(":") === address.includes(":")));
        const exec = from.pod?.exec ?? from.node.exec;
        const questions = targets.flatMap(({ address }) =>
          (["tcp", "udp"] as const).map((protocol): [typeof protocol, string, number] => [protocol, address, port]),
        );
        const answers = await ask({ exec }, questions);
        const faults = answers.flatMap((answer, at) => {
          const { to, address } = targets[at >> 1]!;
          const [name, seen] = answer.split(" ");
          const right = name === to.name && from.seenAs.includes(seen!);
          return right ? [] : [`${from.name} to ${to.name} (${address}) by ${questions[at]![0]}: ${answer}`];
        });
        const pinged = await exec("bash", [
          "-c",
          targets
            .map(
              ({ address }) => `ping -q -c 1 -W 2 ${address} > /dev/null || echo "${from.name} to ${address} by ping"`,
            )
            .join("\n") || ":",
        ]);
        return [...faults, ...pinged.stdout.split("\n").filter((line) => line !== "")];
      }),
    );
    return wrong.flat();
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}
