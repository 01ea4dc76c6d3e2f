// Links: idempotent verbs on a host or in a pod.
import { badConfig, CniError, codes, toCniError } from "../cni/errors.ts";
import { formatMac } from "../netlink/inet.ts";
import {
  type BridgeSettings,
  changeLink,
  createLink,
  deleteLink,
  deleteLinkGroup,
  dumpLinks,
  getLink,
  IF_OPER_UP,
  IFF_PROMISC,
  IFF_UP,
  type Link,
  type PortSettings,
  readLink,
  setLink,
} from "../netlink/rtnl/link.ts";
import type { Reply } from "../netlink/socket.ts";
import type { Namespace } from "../netns/netns.ts";
import { isErrno, waitUntil } from "../sys/libc.ts";
import { preferSysctls } from "./sysctl.ts";

export type { Link };

/** The link of that name or index, or undefined. */
export function findLink(ns: Namespace, by: string | number): Link | undefined {
  const [reply] = ns.route.try(getLink(typeof by === "string" ? { name: by } : { index: by }));
  if (reply!.error && !isErrno(reply!.error, "ENODEV")) throw reply!.error;
  return linkOf(reply!);
}

/** The link of that name; without one an error, code 101. */
export function theLink(ns: Namespace, name: string): Link {
  const link = findLink(ns, name);
  if (!link) throw new CniError(codes.checkFailed, `Cannot find link "${name}"`);
  return link;
}

function linkOf(reply: Reply): Link | undefined {
  return reply.answers[0] && readLink(reply.answers[0]);
}

/** All links, or those of one kind. */
export function listLinks(ns: Namespace, filter: { kind?: string; master?: number } = {}): Link[] {
  const links = ns.route.dump(dumpLinks(filter)).map(readLink);
  // Kernels that do not filter send everything.
  return links.filter(
    (link) =>
      (filter.kind === undefined || link.info?.kind === filter.kind) &&
      (filter.master === undefined || link.master === filter.master),
  );
}

export const isUp = (link: Link): boolean => (link.flags & IFF_UP) !== 0;
export const isPromiscuous = (link: Link): boolean => (link.flags & IFF_PROMISC) !== 0;

/** Sets a link up or down. */
export function setLinkUp(ns: Namespace, index: number, up = true): void {
  ns.route.request(changeLink({ index, up }));
}

/** How long a link may take to be able to send, in ms: as long as the reference waits for a port. */
const patience = 2550;

/**
 * Returns when a link can send that has got its carrier by its other end's coming up: the kernel sees to that in work of its
 * own, late on a busy machine, and drops what is to be sent before (net/core/link_watch.c). Since Linux 6.8 it does so at
 * once where one asks for the link; older ones are asked again. A bridge that the link is a port of, and that had no
 * carrier so far, gets it thereby. Throws if the link stays down.
 */
export function awaitCarrier(ns: Namespace, { index, name }: Link, bridge?: Link): void {
  const looks = [getLink({ index })];
  if (bridge && bridge.operState !== IF_OPER_UP) looks.push(getLink({ index: bridge.index }));
  const isReady = () => {
    const [reply] = ns.route.try(...looks);
    if (reply!.error) throw reply!.error;
    return linkOf(reply!)?.operState === IF_OPER_UP;
  };
  if (!waitUntil(isReady, patience))
    throw new CniError(codes.systemFailure, `Cannot use link "${name}": it gets no carrier`);
}

/** Removes a link by name or index and waits until its memory is free. False if there was none. */
export function removeLink(ns: Namespace, by: { name?: string; index?: number }): boolean {
  const [reply] = ns.route.try(deleteLink(by));
  if (reply!.error && !isErrno(reply!.error, "ENODEV")) throw reply!.error;
  return !reply!.error;
}

/** Removes many links in the time of one: they are put into a group of their own, and the group is deleted. */
export function removeLinks(ns: Namespace, links: readonly Link[]): void {
  if (links.length < 2) {
    for (const { index } of links) removeLink(ns, { index });
    return;
  }
  const taken = new Set(listLinks(ns).map(({ group }) => group ?? 0));
  let group = 0;
  while (group === 0 || taken.has(group)) group = crypto.getRandomValues(new Uint32Array(1))[0]! >>> 1;
  for (let at = 0; at < links.length; at += 500) {
    const some = links.slice(at, at + 500);
    ns.route.request(...some.map(({ index }) => ({ ...changeLink({ index, group }), accept: ["ENODEV"] })));
    ns.route.request({ ...deleteLinkGroup(group), accept: ["ENODEV"] });
  }
}

/** A bridge as wanted; what is undefined is left as it is. */
export interface BridgeSpec {
  name: string;
  mtu?: number;
  /** Where it is made; default: a random one. */
  mac?: string;
  promiscuous?: boolean;
  settings?: BridgeSettings;
}

/** The bridge of that name, made if there is none, and up. A link of another kind is an error. */
export function ensureBridge(ns: Namespace, { name, mtu, mac, promiscuous, settings }: BridgeSpec): Link {
  let bridge = findLink(ns, name);
  if (!bridge) {
    // A MAC given at creation stays: otherwise it would follow the lowest of the ports' as they come and go.
    const spec = { name, mtu, mac: mac ?? randomMac(), txQueueLength: 1000, info: { kind: "bridge", data: settings } };
    // EEXIST: another process made it in the meantime.
    ns.route.request({ ...createLink(spec), accept: ["EEXIST"] });
    // Nobody else has the address made of that MAC; while the kernel asked around, no IPv6 would reach the first pods.
    preferSysctls(ns, { [`ipv6/conf/${name}/accept_dad`]: "0" });
    ns.route.request({ ...changeLink({ name, up: true }), accept: ["ENODEV"] });
    bridge = findLink(ns, name);
    if (!bridge) throw new Error(`Cannot find bridge "${name}": it vanished as soon as it was made`);
  }
  if (bridge.info?.kind !== "bridge") {
    throw badConfig("bridge", name, "a link of that name exists and is no bridge");
  }
  const promiscuity = promiscuous && !isPromiscuous(bridge) ? { flags: IFF_PROMISC, change: IFF_PROMISC } : {};
  if (!isUp(bridge) || promiscuity.flags)
    ns.route.request(changeLink({ index: bridge.index, up: true, ...promiscuity }));
  return bridge;
}

/** Whether a link is up, a port of the bridge of that index, with these settings. */
export function isPort(link: Link, master: number, settings: PortSettings = {}): boolean {
  const have: Record<string, unknown> = link.info?.port ?? {};
  const same = Object.entries(settings).every(([name, value]) => value === undefined || have[name] === value);
  return isUp(link) && link.master === master && same;
}

/** Makes a link a port of the bridge of that index, up, with these settings. */
export function ensurePort(ns: Namespace, { index }: Link, master: number, settings?: PortSettings): void {
  ns.route.request(
    changeLink({ index, master, up: true }),
    ...(settings ? [changeLink({ index, info: { port: settings } })] : []),
  );
}

function randomMac(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  bytes[0] = (bytes[0]! & 0xfc) | 2;
  return formatMac(bytes);
}

/** A pair of virtual Ethernet links, one end on the host, the other in the pod. */
export interface VethSpec {
  hostName: string;
  podName: string;
  /** MAC addresses; the kernel's random ones by default. */
  hostMac?: string;
  podMac?: string;
  mtu?: number;
  /** Index of the bridge that the host end is a port of. */
  master?: number;
  port?: PortSettings;
  /** What the host end says of itself: link alias. */
  alias?: string;
}

/** Makes the pair, the host end up, the pod end down. EEXIST if either name is taken. */
export function createVeth(host: Namespace, pod: Namespace, spec: VethSpec): { host: Link; pod: Link } {
  const { hostName, podName, hostMac, podMac, mtu, master, port, alias } = spec;
  const queues = { txQueues: 1, rxQueues: 1 };
  const peer = { name: podName, mac: podMac, mtu, netnsFd: pod.fd, ...queues };
  const messages = [
    createLink({
      name: hostName,
      mac: hostMac,
      mtu,
      info: { kind: "veth", data: { peer } },
      ...queues,
    }),
    // RTM_NEWLINK takes no alias, and no port settings for a link that is being made. A change of a link that is up has the
    // kernel walk over all its IPv6 routes, so the link is up late.
    ...(alias === undefined ? [] : [setLink({ name: hostName, alias })]),
    changeLink({ name: hostName, master, up: true }),
    ...(port ? [changeLink({ name: hostName, info: { port } })] : []),
  ];
  const replies = host.route.try(...messages);
  for (const { error } of replies) {
    if (!error) continue;
    // What made this pair fail half way must not leave the other half.
    if (!replies[0]!.error) undoLink(host, hostName, error);
    throw error;
  }
  // Before Linux 6.2 nothing is echoed.
  const made = linkOf(replies[0]!) ?? findLink(host, hostName);
  const other =
    made?.link === undefined ? findLink(pod, podName) : { index: made.link, flags: 0, hardware: 1, ...peer };
  if (!made || !other) throw new Error(`Cannot find link "${hostName}": it vanished as soon as it was made`);
  return { host: made, pod: other as Link };
}

function undoLink(ns: Namespace, name: string, error: Error): void {
  try {
    removeLink(ns, { name });
  } catch (failure) {
    error.message += `; removing the link failed too: ${toCniError(failure).message}`;
  }
}
