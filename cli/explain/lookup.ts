// Questions to the kernel that only an explanation asks: the way of a packet that comes in by a link, who is a neighbour, where
// a MAC address lives, who listens. RFC 3549 section 3.1.1; linux/rtnetlink.h struct rtmsg, linux/neighbour.h.
import { readSysctl } from "../../lib/ip/sysctl.ts";
import { parseIp } from "../../lib/netlink/inet.ts";
import {
  dumpForwarding,
  dumpNeighbours,
  type Forwarding,
  type Neighbour,
  readForwarding,
  readNeighbour,
} from "../../lib/netlink/rtnl/neighbour.ts";
import { findPath, type Packet } from "../../lib/netlink/rtnl/path.ts";
import { type Route, readRoutes } from "../../lib/netlink/rtnl/route.ts";
import type { Namespace } from "../../lib/netns/netns.ts";
import { readTextIfAny } from "../../lib/sys/file.ts";

/** RTN_*: what a route is for. */
export const kinds = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
} as const;
/** NUD_*: what is known of a neighbour. */
const states: [bit: number, name: string][] = [
  [0x80, "permanent"],
  [0x40, "noarp"],
  [0x20, "failed"],
  [0x10, "probe"],
  [0x08, "delay"],
  [0x04, "stale"],
  [0x02, "reachable"],
  [0x01, "incomplete"],
];

export const stateOf = ({ state = 0 }: Pick<Neighbour, "state">): string =>
  states.find(([bit]) => state & bit)?.[1] ?? "unknown";

/** The route of a packet, or the errno by which the kernel refuses it. */
export function routeOf(ns: Namespace, packet: Packet): Route | { refused: string } {
  const [reply] = ns.route.try(findPath(packet));
  if (reply!.error) return { refused: reply!.error.code };
  const [route] = reply!.answers.flatMap(readRoutes);
  return route ?? { refused: "ENETUNREACH" };
}

/**
 * Whether rp_filter is why a packet that comes in by a link is refused: the kernel itself gives one errno for many reasons.
 * Returns the index of the link that leads back to its source, 0 for none.
 */
export function wrongSource(ns: Namespace, { to, from, input }: Required<Packet>, name: string): number | undefined {
  if (to.includes(":") || "refused" in routeOf(ns, { to })) return undefined; // rp_filter is of IPv4 alone
  if (!("refused" in routeOf(ns, { to, from, input }))) return undefined;
  const strictness = Math.max(...["all", name].map((one) => Number(readSysctl(ns, `ipv4/conf/${one}/rp_filter`) ?? 0)));
  if (strictness === 0) return undefined;
  const back = routeOf(ns, { to: from });
  if ("refused" in back) return 0;
  return strictness === 1 && back.link !== input ? (back.link ?? 0) : undefined;
}

/** What a link knows of a neighbour. */
export function neighbourOf(ns: Namespace, index: number, address: string): Neighbour | undefined {
  const family = address.includes(":") ? 10 : 2;
  return ns.route
    .dump(dumpNeighbours(family, index))
    .map(readNeighbour)
    .find((one) => one.index === index && one.ip === address);
}

/** Forwarding entries of a MAC address, on the links that are asked about. */
export function forwardingOf(ns: Namespace, mac: string, links: readonly number[]): Forwarding[] {
  return ns.route
    .dump(dumpForwarding(0))
    .map(readForwarding)
    .filter((entry) => entry.mac === mac && links.includes(entry.index));
}

/** Whether somebody listens to a port, on this address or on all of them. */
export function isListening(ns: Namespace, protocol: "tcp" | "udp", address: string, port: number): boolean {
  const bytes = parseIp(address)!;
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const texts = ns.run(() => ["", "6"].map((six) => readTextIfAny(`/proc/thread-self/net/${protocol}${six}`) ?? ""));
  const own = wireText(bytes);
  return texts.some((text, six) =>
    text.split("\n").some((line) => {
      const [, local = "", , state] = line.trim().split(/\s+/);
      if (!local.endsWith(suffix) || (protocol === "tcp" && state !== "0A")) return false;
      const bound = local.slice(0, -suffix.length);
      // A socket of IPv6 bound to :: takes IPv4 too, unless told not to, which is not told here.
      return /^0+$/.test(bound) || (six === (bytes.length === 16 ? 1 : 0) && bound === own);
    }),
  );
}

/** As the kernel prints it: words of four bytes, each in the machine's order. */
function wireText(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4)
    text += [...bytes.subarray(at, at + 4)]
      .reverse()
      .map((byte) => byte.toString(16).padStart(2, "0"))
      .join("");
  return text.toUpperCase();
}
