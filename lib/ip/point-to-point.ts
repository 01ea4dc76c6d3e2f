// A link of two ends and no bridge. The pod's subnet lies behind the host's end, which has the gateway's address:
//
//   in the pod    GATEWAY dev IFNAME scope link src IP       SUBNET via GATEWAY dev IFNAME src IP
//   on the host   GATEWAY/32 on the link                     IP dev LINK scope host, protocol 116
//
// The kernel's own route to the subnet, which would ask for neighbours that are not on the link, goes away.
import { CniError, codes } from "../cni/errors.ts";
import { isOfNetwork } from "../cni/identity.ts";
import type { IpConfig } from "../cni/result.ts";
import { familyOf, formatCidr, networkOf, parseCidr } from "../netlink/inet.ts";
import { createAddress } from "../netlink/rtnl/address.ts";
import {
  appendRoute,
  createRoute,
  deleteRoute,
  dumpRoutes,
  type Route,
  RT_SCOPE_HOST,
  RT_SCOPE_LINK,
  readRoutes,
  replaceRoute,
} from "../netlink/rtnl/route.ts";
import { isErrno } from "../sys/libc.ts";
import { addressOf, awaitLocal, listAddresses } from "./address.ts";
import { findLink } from "./link.ts";
import { configureInterface, type Namespace, type PodInterface } from "./pod.ts";
import { preferSysctls } from "./sysctl.ts";

/** Whose routes on a host these are: a line "116 tenon" in /etc/iproute2/rt_protos.d/tenon.conf names it for ip(8). */
export const PROTOCOL = 116;
const RTPROT_KERNEL = 2;

/** An address with the gateway that it must have. */
export type Ip = IpConfig & { gateway: string };

/** An address as the network of itself alone. */
const alone = (ip: string): string => `${ip}/${ip.includes(":") ? 128 : 32}`;
const ipOf = (address: string): string => address.split("/")[0]!;

/** One route for each destination: the first. */
function unique(routes: Route[]): Route[] {
  return routes.filter(({ destination }, at) => routes.findIndex((route) => route.destination === destination) === at);
}

/** The way to each gateway. */
function gatewayRoutes(ips: readonly Ip[], link?: number): Route[] {
  const routes = ips.map(({ address, gateway }): Route => {
    const scope = gateway.includes(":") ? undefined : RT_SCOPE_LINK;
    return { destination: alone(gateway), link, scope, source: ipOf(address) };
  });
  return unique(routes);
}

/** The way to each subnet. An address whose network is itself alone has none. */
function subnetRoutes(ips: readonly Ip[], link?: number): Route[] {
  const routes = ips.flatMap(({ address, gateway }): Route[] => {
    const { ip, prefix } = parseCidr(address)!;
    if (prefix === ip.length * 8) return [];
    return [
      { destination: formatCidr({ ip: networkOf({ ip, prefix }), prefix }), link, gateway, source: ipOf(address) },
    ];
  });
  return unique(routes);
}

/** Gives the pod's end its addresses, sets it up and adds its routes. */
export function configurePodEnd(pod: Namespace, wanted: PodInterface & { ips: readonly Ip[] }): void {
  const { ips, index } = wanted;
  configureInterface(pod, { ...wanted, first: gatewayRoutes(ips, index) });
  // Only now: the given routes may lead by other hosts of the subnet, which the kernel believes while its route is there.
  const subnets = subnetRoutes(ips, index);
  pod.route.request(
    ...subnets.map(({ destination }) => ({
      ...deleteRoute({ destination, link: index, protocol: RTPROT_KERNEL }),
      accept: ["ESRCH"],
    })),
    ...subnets.map(appendRoute),
  );
}

/** The routes to the pod. */
function hostRoutes(ips: readonly Ip[], link: number): Route[] {
  const routes = ips.map(({ address }): Route => {
    const scope = address.includes(":") ? undefined : RT_SCOPE_HOST;
    return { destination: alone(ipOf(address)), link, scope, protocol: PROTOCOL };
  });
  return unique(routes);
}

/**
 * Gives the host's end the gateways' addresses and leads the pod's addresses to it. A route that an attachment to the
 * same network has left is replaced: who gave the address to the pod knows that the other has it no more.
 */
export function configureHostEnd(
  host: Namespace,
  link: { name: string; index: number },
  ips: readonly Ip[],
  network: string,
): void {
  const { name, index } = link;
  // Nobody else is on this link, and packets for the pod wait until the link's own IPv6 address is tested.
  if (ips.some(({ address }) => address.includes(":"))) preferSysctls(host, { [`ipv6/conf/${name}/accept_dad`]: "0" });
  const routes = hostRoutes(ips, index);
  const gateways = [...new Set(ips.map(({ gateway }) => gateway))];
  const addresses = gateways.map((gateway) => createAddress(addressOf(index, parseCidr(alone(gateway))!)));
  const isThere = (error: Error, at: number) => at < addresses.length && isErrno(error, "EEXIST");
  const replies = host.route.try(...addresses, ...routes.map(createRoute));
  replies.forEach(({ error }, at) => {
    const route = routes[at - addresses.length];
    if (error && route && isErrno(error, "EEXIST")) takeOver(host, route, network);
    else if (error && !isThere(error, at)) throw error;
  });
  awaitLocal(host, gateways);
}

function takeOver(host: Namespace, route: Route, network: string): void {
  const other = routesOf(host, route.destination)[0]?.link;
  const holder = other === undefined ? undefined : findLink(host, other);
  if (holder && !isOfNetwork(holder.alias ?? "", network)) {
    const label = holder.alias ? ` (${holder.alias})` : "";
    throw new CniError(
      codes.alreadyExists,
      `Cannot lead ${route.destination} to the pod: a route leads it to link "${holder.name}"${label}`,
    );
  }
  host.route.request(replaceRoute(route));
}

function routesOf(ns: Namespace, destination: string, table?: number): Route[] {
  const all = ns.route.dump(dumpRoutes(familyOf(parseCidr(destination)!.ip), table)).flatMap(readRoutes);
  return all.filter((route) => route.destination === destination);
}

/** Throws, with code 101, unless the pod's end has its routes, be it in another table, where later plugins put them. */
export function assertPodEnd(pod: Namespace, index: number, ips: readonly Ip[]): void {
  for (const { destination, gateway } of [...gatewayRoutes(ips), ...subnetRoutes(ips)]) {
    const there = routesOf(pod, destination, 0);
    if (there.some((route) => route.link === index && route.gateway === gateway)) continue;
    throw missing(`route to ${destination}${gateway ? ` by ${gateway}` : ""} in the pod`);
  }
}

/** Throws, with code 101, unless the host's end has the gateways' addresses and the routes to the pod. */
export function assertHostEnd(host: Namespace, index: number, ips: readonly Ip[]): void {
  const addresses = listAddresses(host, index);
  for (const { gateway } of ips) {
    if (!addresses.some(({ ip }) => ip === gateway)) throw missing(`gateway address ${gateway} on the host's end`);
  }
  for (const { destination } of hostRoutes(ips, index)) {
    if (!routesOf(host, destination).some(({ link }) => link === index))
      throw missing(`route to ${destination} on the host`);
  }
}

const missing = (what: string) => new CniError(codes.checkFailed, `Cannot find ${what}`);
