// A pod: its network namespace, and its end of a link: addresses, up, routes, in one send.
import { CniError, codes } from "../cni/errors.ts";
import type { IpConfig, Result, RouteConfig } from "../cni/result.ts";
import { familyOf, formatCidr, networkOf, parseCidr } from "../netlink/inet.ts";
import { createAddress } from "../netlink/rtnl/address.ts";
import { changeLink } from "../netlink/rtnl/link.ts";
import { appendRoute, dumpRoutes, type Route, RT_SCOPE_LINK, readRoutes } from "../netlink/rtnl/route.ts";
import { host, type Namespace, NamespaceError, openNamespace } from "../netns/netns.ts";
import { first, mapped } from "../sys/list.ts";
import { addressOf, awaitLocal, listAddresses, waitForAddresses } from "./address.ts";
import { preferSysctls, writeSysctls } from "./sysctl.ts";

export { host, type Namespace };

/** The pods that stay open while keepingPodsOpen runs. */
let kept: Map<string, Namespace> | undefined;

/** Runs `body` with the namespace at `path` open. */
export function inPod<T>(path: string, body: (pod: Namespace) => T): T {
  const open = kept?.get(path);
  if (open) return body(open);
  const pod = openNamespace(path);
  if (kept) {
    kept.set(path, pod);
    return body(pod);
  }
  try {
    return body(pod);
  } finally {
    pod.close();
  }
}

/** Runs `body`, in which a pod's namespace and socket are opened once, however many plugins need them. */
export function keepingPodsOpen<T>(body: () => T): T {
  kept = new Map();
  try {
    return body();
  } finally {
    for (const pod of kept.values()) pod.close();
    kept = undefined;
  }
}

/** The same for DEL: without a path, or where it leads to no namespace any more, there is nothing to do. */
export function inPodIfAny(path: string, body: (pod: Namespace) => void): void {
  if (path === "") return;
  try {
    inPod(path, body);
  } catch (error) {
    if (!(error instanceof NamespaceError)) throw error;
  }
}

/** What an interface in a pod is to have. */
export interface PodInterface {
  ifname: string;
  index: number;
  ips: readonly IpConfig[];
  routes: readonly RouteConfig[];
  /** Routes that the others need to be there already. */
  first?: readonly Route[];
  /** Test IPv6 addresses for duplicates, as RFC 4862 wants and a veth does not need. */
  duplicateDetection?: boolean;
}

/** The routes of a result as the kernel takes them: a missing next hop is the first gateway of the family. */
export function wantedRoutes(ips: readonly IpConfig[], routes: readonly RouteConfig[], link?: number): Route[] {
  const gateways = (six: boolean) =>
    first(ips, ({ gateway }) => gateway !== undefined && gateway.includes(":") === six)?.gateway;
  return mapped(routes, ({ dst, gw, ...rest }): Route => {
    const scope = rest.scope ?? undefined;
    const gateway = scope === RT_SCOPE_LINK ? gw : (gw ?? gateways(dst.includes(":")));
    return { destination: dst, gateway, link, ...rest };
  });
}

/**
 * Gives the interface its addresses, sets it up and adds its routes. Without an IPv6 address among them its link-local
 * one is the kernel's affair, which tests it before it uses it: untested, as with the others, the pod would at once speak
 * to each port of the bridge, and the kernel hold up every change for as long.
 */
export function configureInterface(pod: Namespace, wanted: PodInterface): void {
  const { ifname, index, ips, routes, duplicateDetection = false } = wanted;
  const six = first(ips, ({ address }) => address.includes(":")) !== undefined;
  if (six) {
    const conf = `ipv6/conf/${ifname}/`;
    preferSysctls(pod, {
      ...(duplicateDetection ? { [`${conf}enhanced_dad`]: "1" } : {}),
      [`${conf}accept_dad`]: duplicateDetection ? "1" : "0",
      [`${conf}keep_addr_on_down`]: "1",
    });
    // Some runtimes make namespaces with IPv6 off; an IPv6 address says that it is wanted here.
    writeSysctls(pod, { [`${conf}disable_ipv6`]: "0", "ipv6/conf/lo/disable_ipv6": "0" });
  }
  pod.route.request(
    ...mapped(ips, ({ address }) => createAddress(addressOf(index, parseCidr(address)!, duplicateDetection))),
    changeLink({ index, up: true }),
    ...mapped(wanted.first ?? [], appendRoute),
    // An IPv6 route needs its source address ready, which a tentative one is not.
    ...(duplicateDetection ? [] : mapped(wantedRoutes(ips, routes, index), appendRoute)),
  );
  if (duplicateDetection) {
    if (six) waitForAddresses(pod, index);
    pod.route.request(...wantedRoutes(ips, routes, index).map(appendRoute));
  }
  awaitLocal(
    pod,
    mapped(ips, ({ address }) => address),
  );
}

/**
 * Has the kernel tell the neighbours when the interface comes up or gets another MAC address: who had one of its addresses
 * before may have had another.
 */
export function announceMac(pod: Namespace, ifname: string): void {
  preferSysctls(pod, { [`ipv4/conf/${ifname}/arp_notify`]: "1", [`ipv6/conf/${ifname}/ndisc_notify`]: "1" });
}

/** Throws, with code 101, unless the interface has these addresses and routes. */
export function assertConfigured(pod: Namespace, index: number, { ips = [], routes = [] }: Result): void {
  const missing = (what: string) => new CniError(codes.checkFailed, `Cannot find ${what}`);
  const addresses = listAddresses(pod, index);
  for (const { address } of ips) {
    if (!addresses.some(({ ip, prefix }) => `${ip}/${prefix}` === address))
      throw missing(`address ${address} on the interface`);
  }
  for (const wanted of wantedRoutes(ips, routes)) {
    const cidr = parseCidr(wanted.destination)!;
    const destination = formatCidr({ ip: networkOf(cidr), prefix: cidr.prefix });
    const there = pod.route.dump(dumpRoutes(familyOf(cidr.ip), wanted.table)).flatMap(readRoutes);
    const same = (have: Route) =>
      have.destination === destination &&
      (wanted.gateway === undefined || have.gateway === wanted.gateway) &&
      (wanted.priority === undefined || have.priority === wanted.priority) &&
      (wanted.mtu === undefined || have.mtu === wanted.mtu) &&
      (wanted.advmss === undefined || have.advmss === wanted.advmss) &&
      (wanted.scope === undefined || have.scope === wanted.scope);
    if (!there.some(same)) throw missing(`route to ${destination}${wanted.gateway ? ` by ${wanted.gateway}` : ""}`);
  }
}
