// A packet under way, and what its steps have in common.
import { findLink, isUp, type Link, listLinks } from "../../lib/ip/link.ts";
import { dumpAddresses, readAddress } from "../../lib/netlink/rtnl/address.ts";
import type { Route } from "../../lib/netlink/rtnl/route.ts";
import { host, type Namespace } from "../../lib/netns/netns.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Trail } from "./trail.ts";

/** What is asked: from whom to whom, to which port. */
export interface Question {
  from: Endpoint;
  to: Endpoint;
  protocol: "tcp" | "udp";
  port?: number;
  /** Who has an address: asked where a published port leads somewhere else. */
  find(address: string): Endpoint;
}

/** The packet under way. */
export interface Way extends Question {
  trail: Trail;
  source: string;
  target: string;
  family: 4 | 6;
  /** Of the pod's link: its largest packets. */
  mtu?: number;
}

export const familyOf = (address: string): 4 | 6 => (address.includes(":") ? 6 : 4);

export const node = "node";

export const nameOf = ({ name, index }: Link) => name ?? `link ${index}`;

export const wordOf = (link: Link) => (link.info?.kind === "bridge" ? "bridge" : "link");

/** What is wrong with a link that nothing goes through; undefined if nothing is. */
export function wrongWith(link: Link): string | undefined {
  if (!isUp(link)) return `${nameOf(link)} is down`;
  // IFF_LOWER_UP: what it is plugged into is up too.
  if ((link.flags & 0x10000) === 0 && link.info?.kind !== "bridge")
    return `${nameOf(link)} is up, but its other end is not`;
  return undefined;
}

export function describe(link: Link, more = ""): string {
  return [`${nameOf(link)} is up`, ...(more ? [more] : []), ...(link.mac ? [link.mac] : []), `MTU ${link.mtu}`].join(
    ", ",
  );
}

export const refusals: Record<string, string> = {
  ENETUNREACH: "no route leads there",
  EHOSTUNREACH: "a route says that it is unreachable",
  EACCES: "a route prohibits it",
  EINVAL: "a blackhole route drops it",
  ENODEV: "there is no link for it",
};

export const routeText = ({ destination, gateway, source }: Route, link: Link | undefined, target: string) =>
  [
    `to ${destination.endsWith("/32") || destination.endsWith("/128") ? target : destination}`,
    ...(gateway ? [`by ${gateway}`] : []),
    ...(link ? [`dev ${nameOf(link)}`] : []),
    ...(source ? [`from ${source}`] : []),
  ].join(" ");

export function linkWith(ns: Namespace, address: string): Link | undefined {
  const found = ns.route
    .dump(dumpAddresses(0))
    .map(readAddress)
    .find(({ ip }) => ip === address);
  return found && findLink(ns, found.index);
}

export function addressOn(ns: Namespace, index: number, family: 4 | 6): string | undefined {
  const all = ns.route.dump(dumpAddresses(index)).map(readAddress);
  return all.find((one) => one.index === index && one.scope === 0 && familyOf(one.ip) === family)?.ip;
}

/** Both ends of the pair of a pod that has the address. */
export interface Ends {
  inner: Link;
  outer: Link;
}

export function hostEnd(to: Endpoint, address: string): Ends | undefined {
  if (to.kind !== "pod" || !to.ns) return undefined;
  const link = linkWith(to.ns, address);
  const inner = link ?? listLinks(to.ns).find(({ info }) => info?.kind === "veth");
  const outer = inner?.link === undefined ? undefined : findLink(host, inner.link);
  return inner && outer?.link === inner.index ? { inner, outer } : undefined;
}
