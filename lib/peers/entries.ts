// What the kernel is to know of the nodes of a network: routes, neighbours, forwarding entries and rules, worked out of one
// node at a time, so that what a change of the nodes costs is that of the nodes changed.
import { familyOf, formatIp, parseCidr, parseIp, parseMac } from "../netlink/inet.ts";
import {
  deleteForwarding,
  deleteNeighbour,
  dumpForwarding,
  dumpNeighbours,
  NUD_PERMANENT,
  readForwarding,
  readNeighbour,
  replaceForwarding,
  replaceNeighbour,
} from "../netlink/rtnl/neighbour.ts";
import {
  deleteRoute,
  dumpRoutes,
  type Route,
  RT_TABLE_MAIN,
  RTN_BLACKHOLE,
  readRoutes,
  replaceRoute,
} from "../netlink/rtnl/route.ts";
import { createRule, deleteRule, dumpRules, type Rule, readRule } from "../netlink/rtnl/rule.ts";
import type { Message } from "../netlink/socket.ts";
import type { Namespace } from "../netns/netns.ts";
import type { Paths } from "./conf.ts";
import { baseOf, macOf } from "./device.ts";
import type { PeerNode } from "./snapshot.ts";
import { familyOfText, linkBeside, type Underlay } from "./underlay.ts";

/** Whose routes and rules they are: ours, as everywhere on the host. */
export const protocol = 116;
/** Before the kernel's own table main. */
const rulePriority = 11600;
/** Behind any route that leads to pods of this node. */
const blackholeMetric = 65535;

/** One thing in the kernel: what `key` names is to be as `value` says. */
export interface Entry {
  kind: "route" | "neighbour" | "forwarding" | "rule";
  key: string;
  value: string;
  /** Of a route. */
  table?: number;
  put: () => Message;
  drop: () => Message;
}

/** All that entries are made from besides the node itself. `device`: index of the tunnel's; 0 without one. */
export interface Ground {
  paths: Paths;
  underlay: Underlay;
  device: number;
}

/** What is needed to find entries that are there. */
export type Findable = Pick<Ground, "paths" | "device">;

/** Where routes to the addresses of nodes are, for packets from pods alone: a table of each VNI's own. */
export const nodeTable = (vni: number) => 0x74000000 + vni;

function routeEntry(route: Route): Entry {
  const { destination, table = RT_TABLE_MAIN, link, gateway, onlink, source, kind } = route;
  // IPv6 gives routes without a metric 1024.
  const priority = route.priority ?? (destination.includes(":") ? 1024 : 0);
  return {
    kind: "route",
    table,
    key: `route ${destination} table ${table} metric ${priority}`,
    value:
      kind === RTN_BLACKHOLE
        ? "blackhole"
        : `${gateway ? `via ${gateway} ` : ""}dev ${link}${onlink ? " onlink" : ""}${source ? ` src ${source}` : ""}`,
    put: () => replaceRoute({ ...route, protocol }),
    drop: () => ({ ...deleteRoute({ destination, table, priority, protocol }), accept: ["ESRCH"] }),
  };
}

function neighbourEntry(index: number, ip: string, mac: string): Entry {
  return {
    kind: "neighbour",
    key: `neighbour ${ip}`,
    value: mac,
    put: () => replaceNeighbour({ index, ip, mac }),
    drop: () => ({ ...deleteNeighbour({ index, ip }), accept: ["ENOENT"] }),
  };
}

function forwardingEntry(index: number, mac: string, ip: string): Entry {
  return {
    kind: "forwarding",
    key: `forwarding ${mac}`,
    value: ip,
    put: () => replaceForwarding({ index, mac, ip }),
    drop: () => ({ ...deleteForwarding({ index, mac }), accept: ["ENOENT"] }),
  };
}

function ruleEntry(rule: Rule): Entry {
  return {
    kind: "rule",
    key: `rule from ${rule.from} lookup ${rule.table}`,
    value: `${rule.priority}`,
    put: () => ({ ...createRule(rule), accept: ["EEXIST"] }),
    drop: () => ({ ...deleteRule(rule), accept: ["ENOENT"] }),
  };
}

/** What this node itself needs. */
export function ownEntries({ paths, device }: Ground, self: PeerNode): Entry[] {
  const entries: Entry[] = [];
  for (const subnet of self.subnets) {
    if (paths.blackhole) {
      const scope = 0;
      entries.push(routeEntry({ destination: subnet, kind: RTN_BLACKHOLE, priority: blackholeMetric, scope }));
    }
    if (!device) continue;
    const table = nodeTable(paths.tunnel!.vni);
    const family = familyOf(parseCidr(subnet)!.ip);
    entries.push(ruleEntry({ family, from: subnet, table, priority: rulePriority, protocol }));
  }
  return entries;
}

/** What a node needs that is not this one, and what keeps it from being reached, in words. */
export function entriesOf(ground: Ground, node: PeerNode): { entries: Entry[]; problems: string[] } {
  const { paths, underlay, device } = ground;
  const { metric: priority, table } = paths;
  const entries: Entry[] = [];
  const problems: string[] = [];
  const problem = (reason: string) => {
    const text = `Cannot reach node "${node.name}": ${reason}`;
    if (!problems.includes(text)) problems.push(text); // one for two networks
  };
  const vtep = device ? node.addresses.find((one) => familyOfText(one) === underlay.family) : undefined;
  const mac = vtep ? macOf(paths.network, paths.tunnel!.vni, node) : "";
  let tunnelled = false;
  for (const subnet of node.subnets) {
    const family = familyOfText(subnet);
    const near = paths.direct ? nextTo(underlay, node, family) : undefined;
    if (near) {
      entries.push(routeEntry({ destination: subnet, gateway: near.gateway, link: near.link, priority, table }));
    } else if (vtep) {
      const gateway = family === 4 ? baseOf(subnet) : linkLocalOf(mac);
      // Without a source said, the host would speak as the device's own address, and a server that heard a pod by UDP too.
      const way = { gateway, link: device, onlink: true, source: underlay.sources[family] };
      const isFirst = subnet === node.subnets.find((other) => familyOfText(other) === family);
      if (isFirst || family === 4) entries.push(neighbourEntry(device, gateway, mac));
      entries.push(routeEntry({ destination: subnet, priority, table, ...way }));
      const own = nodeTable(paths.tunnel!.vni);
      if (isFirst)
        for (const address of node.addresses)
          if (familyOfText(address) === family)
            entries.push(
              family === 4
                ? routeEntry({ destination: `${address}/32`, table: own, priority: spread(address), ...way })
                : routeEntry({ destination: `${address}/128`, table: own, ...way }),
            );
      tunnelled = true;
    } else if (device) {
      problem(`it has no IPv${underlay.family} address, which the tunnel needs`);
    } else if (paths.refuse) {
      const known = node.addresses.filter((one) => familyOfText(one) === family);
      problem(
        known.length === 0
          ? `it has no IPv${family} address for its pods' network ${subnet}`
          : `its address ${known.join(" or ")} is on no subnet of this host: set offSubnet to "overlay", or to "skip" if routers know ${subnet}`,
      );
    }
  }
  if (tunnelled) entries.push(forwardingEntry(device, mac, vtep!));
  return { entries, problems };
}

/**
 * A metric of no meaning, in a table that has one route to each address. The kernel keeps what IPv4 routes lead to by protocol,
 * source, metric and link (fib_info_hashfn, net/ipv4/fib_semantics.c), and compares each that comes with all that have these in
 * common: those of 5,000 nodes in two tables would take it a second.
 */
const spread = (address: string): number => 1 + parseIp(address)!.at(-1)!;

/**
 * The link-local address that goes with a MAC address (RFC 4291 appendix A): the next hop of IPv6, which nobody is asked
 * about. A global one the kernel refuses as soon as any other route leads to it by another link, on the link or not.
 */
function linkLocalOf(mac: string): string {
  const bytes = parseMac(mac)!;
  const ip = new Uint8Array(16);
  ip.set([0xfe, 0x80]);
  ip.set([bytes[0]! ^ 2, bytes[1]!, bytes[2]!, 0xff, 0xfe, bytes[3]!, bytes[4]!, bytes[5]!], 8);
  return formatIp(ip);
}

/** The node's first address of the family that is beside this host. */
function nextTo(underlay: Underlay, { addresses }: PeerNode, family: 4 | 6) {
  for (const gateway of addresses) {
    const link = familyOfText(gateway) === family ? linkBeside(underlay, gateway) : undefined;
    if (link !== undefined) return { gateway, link };
  }
  return undefined;
}

/** In the order in which they must come: a route without its neighbour would lose packets. */
const order = { neighbour: 0, forwarding: 1, route: 2, rule: 3 } as const;
export const inOrder = (entries: Entry[]): Entry[] => entries.sort((a, b) => order[a.kind] - order[b.kind]);

/** Messages in one send: their acknowledgements must fit the socket's buffer, and they themselves the send's. */
const inSend = 1000;

export function send(ns: Namespace, messages: Message[]): void {
  for (let at = 0; at < messages.length; at += inSend) ns.route.request(...messages.slice(at, at + inSend));
}

/**
 * What the kernel has of such entries: all on the device and in its table; of plain routes those with our protocol whose
 * destination `isOurs`.
 */
export function* eachEntry(
  ns: Namespace,
  { paths, device }: Findable,
  isOurs: (destination: string) => boolean,
): Generator<Entry, void> {
  const own = paths.tunnel && nodeTable(paths.tunnel.vni);
  const tables = new Set([RT_TABLE_MAIN, paths.table ?? RT_TABLE_MAIN, own ?? RT_TABLE_MAIN]);
  for (const family of [2, 10] as const) {
    for (const table of tables) {
      for (const answer of ns.route.dump(dumpRoutes(family, table))) {
        if (answer.payload[5] !== protocol) continue; // most are not ours, and to read them costs
        for (const route of readRoutes(answer)) {
          if (route.table !== table) continue;
          const here = table === own || (device !== 0 && route.link === device);
          if (here || (isPlain(route) && isOurs(route.destination))) yield routeEntry(route);
        }
      }
    }
    if (own === undefined) continue;
    for (const rule of ns.route.dump(dumpRules(family)).map(readRule))
      if (rule.table === own && rule.protocol === protocol) yield ruleEntry(rule);
    if (device === 0) continue;
    for (const { ip, mac, state } of ns.route.dump(dumpNeighbours(family, device)).map(readNeighbour))
      if (state === NUD_PERMANENT && mac !== undefined) yield neighbourEntry(device, ip, mac);
  }
  if (device !== 0)
    for (const { mac, ip } of ns.route.dump(dumpForwarding(device)).map(readForwarding))
      if (ip !== undefined) yield forwardingEntry(device, mac, ip);
}

/** The same as a list. */
export const listEntries = (...where: Parameters<typeof eachEntry>): Entry[] => [...eachEntry(...where)];

/** A route by a gateway, or into nothing: those to pods of this node are neither. */
function isPlain({ kind, gateway, onlink }: Route): boolean {
  return kind === RTN_BLACKHOLE || (gateway !== undefined && !onlink);
}
