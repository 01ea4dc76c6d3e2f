// Routes: RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE. linux/rtnetlink.h struct rtmsg, RTA_*, RTAX_*.
import { attrs, ip, type Type, u16, u32, type Writer } from "../attr.ts";
import { type Cidr, familyOf, formatIp, networkOf, parseCidr } from "../inet.ts";
import { type Answer, type Message, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from "../socket.ts";

const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;

export const RT_TABLE_MAIN = 254;
export const RT_TABLE_LOCAL = 255;
export const RT_SCOPE_UNIVERSE = 0;
export const RT_SCOPE_LINK = 253;
export const RT_SCOPE_HOST = 254;
export const RTN_UNICAST = 1;
export const RTN_LOCAL = 2;
export const RTN_BLACKHOLE = 6;
const RTPROT_BOOT = 3;
const RTNH_F_ONLINK = 4;

const metrics = attrs({ mtu: [2, u32], advmss: [8, u32] });
const hop = attrs({ gateway: [5, ip] });

/** RTA_MULTIPATH: struct rtnexthop { u16 length, u8 flags, u8 hops, i32 link } with attributes, one after the other. */
const hops: Type<Pick<Route, "link" | "gateway">[]> = {
  write: () => {
    throw new TypeError("Cannot write a route of several next hops: append one route for each");
  },
  read(from) {
    const list: Pick<Route, "link" | "gateway">[] = [];
    for (let at = 0; at + 8 <= from.length; ) {
      const length = u16.read(from.subarray(at));
      if (length < 8 || at + length > from.length) throw new RangeError(`Cannot read a next hop of ${length} bytes`);
      const { gateway } = hop.read(from.subarray(at + 8, at + length));
      list.push({ link: u32.read(from.subarray(at + 4)), gateway });
      at += (length + 3) & ~3;
    }
    return list;
  },
};

const fields = attrs({
  destination: [1, ip],
  link: [4, u32],
  gateway: [5, ip],
  priority: [6, u32],
  source: [7, ip],
  metrics: [8, metrics],
  hops: [9, hops],
  table: [15, u32],
});

/** One route. Absent fields are the kernel's defaults. */
export interface Route {
  /** The network, as "address/length". */
  destination: string;
  /** Index of the link that it leaves by. */
  link?: number;
  gateway?: string;
  /** Preferred source address. */
  source?: string;
  /** Default 254, main. */
  table?: number;
  /** RT_SCOPE_*; default: link without a gateway, universe with one. */
  scope?: number;
  priority?: number;
  mtu?: number;
  advmss?: number;
  /** Who made it: RTPROT_*; default boot, as `ip route` does. */
  protocol?: number;
  /** RTN_*; default unicast. */
  kind?: number;
  /** The gateway is on the link, whatever the link's own networks are. */
  onlink?: boolean;
}

function network(text: string): Cidr {
  const cidr = parseCidr(text);
  if (!cidr) throw new TypeError(`Cannot write route to "${text}": not a network`);
  return cidr;
}

function writeRoute(to: Writer, route: Route, creating: boolean): void {
  const cidr = network(route.destination);
  const { table = RT_TABLE_MAIN, gateway, mtu, advmss } = route;
  to.u8(familyOf(cidr.ip));
  to.u8(cidr.prefix);
  to.skip(2);
  to.u8(table < 256 ? table : 0);
  to.u8(route.protocol ?? (creating ? RTPROT_BOOT : 0));
  // RT_SCOPE_NOWHERE (255) matches any route on deletion.
  to.u8(route.scope ?? (creating ? (gateway || cidr.ip.length === 16 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK) : 255));
  to.u8(route.kind ?? (creating ? RTN_UNICAST : 0));
  to.u32(route.onlink ? RTNH_F_ONLINK : 0);
  fields.write(to, {
    destination: cidr.prefix === 0 ? undefined : formatIp(networkOf(cidr)),
    link: route.link,
    gateway,
    priority: route.priority,
    source: route.source,
    metrics: mtu === undefined && advmss === undefined ? undefined : { mtu, advmss },
    table,
  });
}

const label = (route: Route) => `route to ${route.destination}${route.gateway ? ` by ${route.gateway}` : ""}`;

/**
 * Adds a route beside any of the same destination; a repeated one with another next hop makes a multipath (IPv6) or
 * an alternative (IPv4). EEXIST if this very route is there.
 */
export function appendRoute(route: Route): Message {
  return {
    label: `add ${label(route)}`,
    type: RTM_NEWROUTE,
    flags: NLM_F_CREATE | NLM_F_APPEND,
    write: (to) => writeRoute(to, route, true),
  };
}

/** Adds a route, EEXIST if there is one of the same destination, metric and table. */
export function createRoute(route: Route): Message {
  return { ...appendRoute(route), flags: NLM_F_CREATE | NLM_F_EXCL };
}

/** Makes this the route of its destination, metric and table. */
export function replaceRoute(route: Route): Message {
  return { ...appendRoute(route), label: `set ${label(route)}`, flags: NLM_F_CREATE | NLM_F_REPLACE };
}

/** Deletes the first route that has all the fields given. */
export function deleteRoute(route: Route): Message {
  return {
    label: `delete ${label(route)}`,
    type: RTM_DELROUTE,
    flags: 0,
    write: (to) => writeRoute(to, route, false),
  };
}

/** Asks for the routes of one family in one table (0: all tables). A table that nobody has used yet holds none. */
export function dumpRoutes(family: 2 | 10, table = RT_TABLE_MAIN): Message {
  return {
    label: "list routes",
    type: RTM_GETROUTE,
    flags: 0,
    accept: ["ENOENT"], // even the main table, before the first IPv4 route
    write: (to) => {
      to.u8(family);
      to.skip(11);
      if (table) fields.write(to, { table });
    },
  };
}

/** Reads the payload of an RTM_NEWROUTE: a route for each of its next hops. */
export function readRoutes({ payload }: Pick<Answer, "payload">): Route[] {
  if (payload.length < 12) throw new RangeError(`Cannot read a route from ${payload.length} bytes`);
  const { destination, table, metrics, hops, ...rest } = fields.read(payload.subarray(12));
  const route: Route = {
    destination: `${destination ?? (payload[0] === 2 ? "0.0.0.0" : "::")}/${payload[1]}`,
    ...rest,
    ...metrics,
    table: table ?? payload[4]!,
    protocol: payload[5]!,
    scope: payload[6]!,
    kind: payload[7]!,
  };
  if (payload[8]! & RTNH_F_ONLINK) route.onlink = true;
  return hops ? hops.map((hop) => ({ ...route, ...hop })) : [route];
}
