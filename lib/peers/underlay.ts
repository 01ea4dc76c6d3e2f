// What carries traffic to other nodes: a link of this host, its address, its MTU, and which addresses are beside it.
import { CniError, codes } from "../cni/errors.ts";
import { findLink, isUp, type Link } from "../ip/link.ts";
import { type Cidr, contains, formatCidr, formatIp, parseCidr, parseIp } from "../netlink/inet.ts";
import { dumpAddresses, IFA_F_TENTATIVE, readAddress } from "../netlink/rtnl/address.ts";
import { IFF_LOOPBACK } from "../netlink/rtnl/link.ts";
import { dumpRoutes, readRoutes } from "../netlink/rtnl/route.ts";
import type { Namespace } from "../netns/netns.ts";
import type { Paths } from "./conf.ts";
import type { PeerNode } from "./snapshot.ts";

export interface Underlay {
  link: Link;
  /** What the tunnel stands on. */
  family: 4 | 6;
  /** This node's address there, the tunnel's source. */
  local: string;
  /** This node's own addresses, which pods elsewhere see it by: the first of each family that the host really has. */
  sources: { 4?: string; 6?: string };
  /** Which of these is still tested for duplicates. */
  untested?: string;
  /** False: the snapshot's address of this node is no address of the host. */
  known: boolean;
  /** Networks that links of the host are in, those that are up: only the named link's, where one is named. */
  beside: { network: Cidr; link: number }[];
}

interface HostAddress {
  index: number;
  flags: number;
  network: Cidr;
}

const sizeOf = (family: 4 | 6) => (family === 4 ? 4 : 16);
export const familyOfText = (address: string): 4 | 6 => (address.includes(":") ? 6 : 4);

/** Bytes that the tunnel adds: Ethernet 14, VXLAN 8, UDP 8, and IP 20 or 40. */
export const overheadOf = (family: 4 | 6) => (family === 4 ? 50 : 70);

/** Finds it. Code 50, naming the link or the address, where there is none or it is down. */
export function findUnderlay(ns: Namespace, paths: Paths, self: PeerNode): Underlay {
  const missing = (what: string) => new CniError(codes.unavailable, `Cannot reach other nodes: ${what}`);
  const all: HostAddress[] = ns.route.dump(dumpAddresses(0)).map((answer) => {
    const { index, ip, prefix, flags = 0 } = readAddress(answer);
    return { index, flags, network: { ip: parseIp(ip)!, prefix } };
  });
  const family =
    paths.tunnel?.family ?? (self.addresses.some((one) => familyOfText(one) === 4) || !self.addresses.length ? 4 : 6);
  const holder = (text: string) => {
    const bytes = formatIp(parseIp(text)!);
    return all.find(({ network }) => formatIp(network.ip) === bytes);
  };
  const own = self.addresses.filter((one) => familyOfText(one) === family);
  const held = own.find((one) => holder(one));
  const link = paths.underlay
    ? findLink(ns, paths.underlay)
    : (outward(ns, held === undefined ? undefined : holder(held)!.index) ?? outward(ns, defaultLink(ns, family)));
  if (!link) {
    throw missing(
      paths.underlay
        ? `there is no link "${paths.underlay}", the underlay`
        : `no link has ${own.length ? `address ${own.join(" or ")} of node "${self.name}"` : `an IPv${family} address`}, and no default route leads to one`,
    );
  }
  if (!isUp(link)) throw missing(`link "${link.name}", the underlay, is down`);
  const here = all.find(
    ({ index, network }) => index === link.index && network.ip.length === sizeOf(family) && isGlobal(network.ip),
  );
  const local = held ?? (here && formatIp(here.network.ip));
  if (local === undefined && paths.tunnel)
    throw missing(`link "${link.name}", the underlay, has no IPv${family} address`);
  // Networks of this node's own pods hold no other node, and come only with the first pod.
  const pods = self.subnets.map((subnet) => parseCidr(subnet)!);
  // A link that is down keeps its addresses of IPv4, but the kernel refuses routes by it.
  const links = new Map<number, Link | undefined>([[link.index, link]]);
  const leads = (index: number) => {
    if (!links.has(index)) links.set(index, findLink(ns, index));
    const there = links.get(index);
    return there !== undefined && isUp(there);
  };
  const beside = all.filter(
    ({ index, network: { ip, prefix } }) =>
      (!paths.underlay || index === link.index) &&
      prefix < ip.length * 8 &&
      isGlobal(ip) &&
      !pods.some((subnet) => contains(subnet, ip)) &&
      leads(index),
  );
  const sources = {
    4: self.addresses.find((one) => familyOfText(one) === 4 && holder(one)),
    6: self.addresses.find((one) => familyOfText(one) === 6 && holder(one)),
  };
  const isUntested = sources[6] !== undefined && (holder(sources[6])!.flags & IFA_F_TENTATIVE) !== 0;
  return {
    link,
    family,
    local: local ?? "",
    sources,
    ...(isUntested ? { untested: sources[6] } : {}),
    known: self.addresses.length === 0 || self.addresses.some((one) => holder(one)),
    beside: beside.map(({ index, network }) => ({ network, link: index })),
  };
}

/** All that paths depend on of it, as text: the same as long as nothing has moved. */
export function footingOf({ link, family, local, sources, known, beside }: Underlay): string {
  const networks = beside.map((one) => `${formatCidr(one.network)} ${one.link}`);
  return JSON.stringify([link.index, link.mtu, family, local, sources, known, networks]);
}

/** Throws code 11 while this node's IPv6 address is tested for duplicates: until then no route may name it as its source. */
export function assertTested({ untested }: Underlay): void {
  if (untested === undefined) return;
  const text = `Cannot reach other nodes: address ${untested} is still being tested for duplicates`;
  throw new CniError(codes.tryAgain, text);
}

/** The link of that index; not the loopback, where routers keep their addresses: traffic leaves by another. */
function outward(ns: Namespace, index: number | undefined): Link | undefined {
  const link = index === undefined ? undefined : findLink(ns, index);
  return link && (link.flags & IFF_LOOPBACK) === 0 ? link : undefined;
}

function isGlobal(ip: Uint8Array): boolean {
  return ip.length === 4 ? ip[0] !== 127 : !(ip[0] === 0xfe && (ip[1]! & 0xc0) === 0x80) && ip[0] !== 0;
}

/** Index of the link of the default route with the lowest metric. */
function defaultLink(ns: Namespace, family: 4 | 6): number | undefined {
  const all = family === 4 ? "0.0.0.0/0" : "::/0";
  const routes = ns.route
    .dump(dumpRoutes(family === 4 ? 2 : 10))
    .flatMap((answer) => (answer.payload[1] === 0 ? readRoutes(answer) : [])) // to read thousands costs
    .filter(({ destination, link }) => destination === all && link !== undefined);
  routes.sort((a, b) => (a.priority ?? 0) - (b.priority ?? 0));
  return routes[0]?.link;
}

/** The link that a peer's address is directly on; undefined where a router stands between. */
export function linkBeside({ beside }: Underlay, address: string): number | undefined {
  const ip = parseIp(address)!;
  for (const { network, link } of beside) if (contains(network, ip)) return link;
  return undefined;
}
