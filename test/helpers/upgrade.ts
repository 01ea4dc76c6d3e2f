// Pods attached by a chain of the reference's plugins, of its releases and backends, and then looked after by ours.
import { referenceDir } from "../../scripts/reference.ts";
import { type Netns, type Node, path } from "./node.ts";
import { must, ours, reference } from "./plugin.ts";

/** Releases of the reference as they are used: where their executables are, and what they know of backends. */
export const suites = [
  { name: "1.1.1 with iptables", bin: reference, masquerade: {}, ports: {} },
  {
    name: "1.9.1 with iptables",
    bin: referenceDir().dir, // asked for here: inside a node no archive can be reached
    masquerade: { ipMasqBackend: "iptables" },
    ports: { backend: "iptables" },
  },
  {
    name: "1.9.1 with nftables",
    bin: referenceDir().dir,
    masquerade: { ipMasqBackend: "nftables" },
    ports: { backend: "nftables" },
  },
] as const;
/** The same with iptables-legacy as the node's iptables: `legacy` of this file makes the folder for PATH. */
export const legacySuite = { ...suites[0], name: "1.1.1 with iptables-legacy" } as const;
export type Suite = (typeof suites)[number] | typeof legacySuite;

const ranges = [[{ subnet: "10.1.0.0/16" }], [{ subnet: "fd00:1::/64" }]];
const base = { cniVersion: "1.0.0", name: "net" };

/** The plugins of a list. `first` is the host port of the pod's port 80, over TCP and UDP; two more follow. */
export function chain(suite: Suite, main: "bridge" | "ptp", first: number): any[] {
  // The reference's ptp tests an IPv6 address for duplicates: two seconds.
  const families = main === "bridge" ? 2 : 1;
  const routes = [{ dst: "0.0.0.0/0" }, { dst: "::/0" }].slice(0, families);
  const ipam = { type: "host-local", ranges: ranges.slice(0, families), routes };
  const portMappings = [
    { hostPort: first, containerPort: 80, protocol: "tcp" },
    { hostPort: first, containerPort: 80, protocol: "udp" },
    { hostPort: first + 1, containerPort: 80, protocol: "tcp", hostIP: "192.0.2.1" },
    { hostPort: first + 2, containerPort: 80, protocol: "tcp", hostIP: "127.0.0.1" },
  ];
  const links =
    main === "bridge"
      ? { type: "bridge", bridge: "cni0", isGateway: true, macspoofchk: true, mtu: 1400 }
      : { type: "ptp", mtu: 1400 };
  return [
    { ...base, ...links, ipMasq: true, ...suite.masquerade, ipam },
    { ...base, type: "portmap", ...suite.ports, runtimeConfig: { portMappings } },
    { ...base, type: "bandwidth", ingressRate: 1e8, ingressBurst: 1e8, egressRate: 1e8, egressBurst: 1e8 },
    { ...base, type: "firewall", ...(main === "bridge" ? { ingressPolicy: "same-bridge" } : {}) },
    { ...base, type: "tuning", mtu: 1300, sysctl: { "net.core.somaxconn": "500" } },
  ];
}

/** An attached pod: what each plugin is told after ADD. */
export interface Attached {
  netns: Netns;
  at: { containerId: string; netns: string };
  plugins: any[];
  result: any;
}

/** The environment in which "iptables" is iptables-legacy. */
export async function legacy(node: Node): Promise<Record<string, string>> {
  const folder = `${node.dir}/legacy`;
  const links = ["iptables", "ip6tables"].map((name) => `ln -s $(command -v ${name}-legacy) ${folder}/${name}`);
  await node.exec("sh", ["-ec", [`mkdir ${folder}`, ...links].join("\n")]);
  return { PATH: `${folder}:${path}` };
}

/** ADD of every plugin of the list, by the executables of `bin`. */
export async function attachChain(
  node: Node,
  name: string,
  plugins: any[],
  bin: string,
  env: Record<string, string> = {},
): Promise<Attached> {
  const netns = await node.netns(name);
  const at = { netns: netns.path, containerId: name };
  let result: any;
  for (const conf of plugins) result = await must(node, "ADD", { ...conf, prevResult: result }, { ...at, bin, env });
  return { netns, at, plugins, result };
}

/** A verb of every plugin, in order, or for DEL in reverse; `more` replaces keys, or what a plugin is told of its pod. */
export async function each(
  node: Node,
  verb: "CHECK" | "DEL",
  { plugins, at, result }: Attached,
  bin = ours,
  { netns = at.netns, path, ...more }: { netns?: string; path?: string; [key: string]: unknown } = {},
): Promise<void> {
  const order = verb === "DEL" ? plugins.toReversed() : plugins;
  for (const conf of order)
    await must(node, verb, { ...conf, prevResult: result, ...more }, { ...at, netns, bin, path });
}

/** A folder where strace(1) stands before each of our plugins, and what they have executed besides themselves so far. */
export async function traced(node: Node): Promise<{ bin: string; strangers(): Promise<string[]> }> {
  const bin = `${node.dir}/traced`;
  const file = `${node.dir}/executed`;
  const script = `mkdir "$0"
for name in bridge ptp portmap bandwidth firewall tuning; do
  printf '#!/bin/sh\nexec strace -A -f -qq -e trace=execve,execveat -o %s %s/%s\n' "$1" "$2" $name > "$0/$name"
done
chmod 755 "$0"/*`;
  await node.exec("sh", ["-ec", script, bin, file, ours]);
  return {
    bin,
    async strangers() {
      const { stdout } = await node.exec("grep", ["exec.* = 0$", file]); // refuses a trace without anything
      const paths = stdout.split("\n").map((line) => /"([^"]+)"/.exec(line)?.[1] ?? line);
      return paths.filter((path) => !path.startsWith(ours));
    },
  };
}

/** What the reference leaves itself after its last DEL: chains that are the node's, and the way to them. */
export const left = [
  /^\+ nft \{"table":\{"family":"(ip|ip6)","name":"(nat|filter|cni_hostport)"/,
  /^\+ nft \{"table":\{"family":"(bridge|inet)","name":"(nat|cni_plugins_masquerade)"/,
  /^\+ nft \{"chain":\{"family":"\w+","table":"(nat|filter)","name":"([A-Z]+|CNI-(HOSTPORT|ISOLATION|FORWARD|ADMIN)[-A-Z0-9]*)"/,
  /^\+ nft \{"chain":\{"family":"\w+","table":"(cni_hostport|cni_plugins_masquerade)"/,
  /^\+ nft \{"rule":\{"family":"\w+","table":"(nat|filter)","chain":"([A-Z]+|CNI-(HOSTPORT-(MASQ|SETMARK)|ISOLATION-STAGE-[12]|FORWARD))".*"(jump|masquerade|mangle|return|drop|xt)"/,
  /^\+ nft \{"rule":\{"family":"\w+","table":"(cni_hostport|cni_plugins_masquerade)","chain":"(prerouting|output|postrouting|hostports_all)"/,
  /^\+ (link|address|route) .*cni0/,
  /^\+ file \/var\/lib\/cni\/networks\/([^/]+\/(lock|last_reserved_ip\.\d)?)?$/,
  /^\+ file \/run\/(cni|xtables.lock|netns)/,
];
