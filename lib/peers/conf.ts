// The configuration of a path to other nodes: the tables of the plugins `vxlan` and `routes`, and what both come to.
import {
  any,
  bool,
  cidrText,
  config,
  type Fields,
  int,
  linkName,
  list,
  oneOf,
  readFields,
  string,
  type Type,
  type Values,
} from "../cni/config.ts";
import { badConfig } from "../cni/errors.ts";
import { peersPath } from "./snapshot.ts";

/** An absolute path. */
const file: Type<string> = {
  schema: { type: "string", pattern: "^/" },
  read(value, key) {
    const text = string.read(value, key, {});
    if (!text.startsWith("/")) throw badConfig(key, value, "must be an absolute path");
    return text;
  },
};

const shared = config({
  peers: [file, "file that says which nodes there are; default: /run/tenon/peers/NAME.json"],
  underlay: [linkName, "link to the other nodes; default: the one with the node's address, else of the default route"],
  blackhole: [bool, { default: true }, "drop packets to pods of this node that are not there: no way leads out"],
  clusterCidrs: [list(cidrText), { default: [] }, "networks of all pods; default: those that the peers have"],
  capabilities: [any, "accepted: the runtime's concern"],
});

const tunnel = config({
  vni: [int, { default: 1, min: 1, max: 16777215 }, "VXLAN network identifier, the same on every node"],
  port: [int, { default: 4789, min: 1, max: 65535 }, "UDP port of the tunnel, the same on every node"],
  mtu: [
    int,
    { min: 0, max: 65535 },
    "of the tunnel and of pods; 0, and at most: the underlay's less 50 bytes, 70 over IPv6",
  ],
  underlayFamily: [
    oneOf("ipv4", "ipv6", ""),
    "what carries the tunnel; default: IPv4 if this node has such an address",
  ],
  txChecksum: [
    oneOf("auto", "on", "off"),
    { default: "auto" },
    "checksums by the network card inside the tunnel; auto: not on cards known to get them wrong",
  ],
});

/** The plugin `vxlan`. */
export const vxlanConf = config({
  ...tunnel,
  directRouting: [bool, { default: false }, "plain routes, without the tunnel, to nodes on the same subnet"],
  ...shared,
});

/** The plugin `routes`. */
export const routesConf = config({
  metric: [int, { min: 0, max: 0xffffffff }, "metric of the routes"],
  table: [int, { min: 1, max: 0xffffffff }, "routing table that they go to; default: main"],
  offSubnet: [
    oneOf("refuse", "skip", "overlay"),
    { default: "refuse" },
    "nodes behind a router: an error, left to the router, or by a VXLAN tunnel",
  ],
  ...tunnel,
  ...shared,
});

/** What the paths of a network to its other nodes are to be like. */
export interface Paths {
  network: string;
  /** The snapshot's file. */
  file: string;
  /** Absent: plain routes alone. */
  tunnel?: { vni: number; port: number; mtu?: number; txChecksum: "auto" | "on" | "off"; family?: 4 | 6 };
  /** Plain routes to nodes on the same subnet. */
  direct: boolean;
  /** Nodes that neither way leads to: an error, or somebody else's concern. */
  refuse: boolean;
  underlay?: string;
  metric?: number;
  table?: number;
  blackhole: boolean;
  clusterCidrs: string[];
}

type Tunnel = Values<typeof tunnel>;

function tunnelOf({ vni, port, mtu, txChecksum, underlayFamily }: Tunnel): NonNullable<Paths["tunnel"]> {
  const family = underlayFamily === "ipv4" ? 4 : underlayFamily === "ipv6" ? 6 : undefined;
  return { vni, port, mtu: mtu || undefined, txChecksum, family };
}

function common(network: string, conf: Values<typeof shared>) {
  const { peers, underlay, blackhole, clusterCidrs } = conf;
  return { network, file: peers ?? peersPath(network), underlay, blackhole, clusterCidrs };
}

/** The paths of a network by `vxlan`. */
export function overlayPaths(network: string, conf: Values<typeof vxlanConf>): Paths {
  return { ...common(network, conf), tunnel: tunnelOf(conf), direct: conf.directRouting, refuse: false };
}

/** The paths of a network by `routes`. */
export function plainPaths(network: string, conf: Values<typeof routesConf>): Paths {
  const { metric, table, offSubnet } = conf;
  const paths: Paths = { ...common(network, conf), direct: true, refuse: offSubnet === "refuse", metric, table };
  if (offSubnet === "overlay") paths.tunnel = tunnelOf(conf);
  return paths;
}

/**
 * The paths that one plugin's entry of a conflist asks for; undefined where its type is neither. Throws, with code 7,
 * what the plugin would.
 */
export function pathsOf(network: string, entry: Record<string, unknown>): Paths | undefined {
  const read = <F extends Fields>(fields: F) => readFields(fields, entry);
  if (entry.type === "vxlan") return overlayPaths(network, read(vxlanConf));
  if (entry.type === "routes") return plainPaths(network, read(routesConf));
  return undefined;
}
