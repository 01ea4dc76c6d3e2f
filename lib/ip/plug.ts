// An attachment's pair of links, one end on the host, the other in the pod. The host's end has a name made from network,
// container and interface and says in its alias which these are: by the one DEL finds it, by the other GC.
import { CniError, codes, isErrno } from "../cni/errors.ts";
import { hashedMac, hostLinkName, isOfNetwork, labelOf } from "../cni/identity.ts";
import type { Attachment } from "../cni/request.ts";
import { formatMac, parseIp } from "../netlink/inet.ts";
import type { PortSettings } from "../netlink/rtnl/link.ts";
import { createVeth, findLink, type Link, listLinks, removeLink, removeLinks } from "./link.ts";
import { host, inPodIfAny, type Namespace } from "./pod.ts";
import { preferSysctls } from "./sysctl.ts";
import { unplugLink } from "./unplug.ts";

/** What an attachment is called on the host. */
export function namesOf({ network, containerId, ifname }: Attachment & { network: string }) {
  return { hostName: hostLinkName(network, containerId, ifname), label: labelOf(network, containerId, ifname) };
}

/** A pair as wanted. */
export interface Plug {
  hostName: string;
  label: string;
  ifname: string;
  /** Of both ends; default: the kernel's choice. */
  mtu?: number;
  /** MAC address of the pod's end; default: made from `address`. */
  mac?: string;
  /** The pod's first address, "10.0.0.2/24". */
  address?: string;
  /** Index of the bridge that the host's end is a port of, and the port's settings. */
  master?: number;
  port?: PortSettings;
}

/** Throws, code 102, where the pod has an interface of that name: to be called before anything is made or asked for. */
export function assertUnplugged(pod: Namespace, ifname: string): void {
  if (!findLink(pod, ifname)) return;
  const message = `Cannot use CNI_IFNAME "${ifname}": the container has a link of that name`;
  throw new CniError(codes.alreadyExists, message);
}

/** Makes the pair: the host's end up, the pod's down. An interface of that name in the pod is an error. */
export function plugPod(pod: Namespace, { hostName, label, ifname, mac, address, ...rest }: Plug) {
  const spec = {
    hostName,
    podName: ifname,
    hostMac: hashedMac(`${label} host`),
    podMac: mac ?? macOf(address, label),
    alias: label,
    ...rest,
  };
  let pair: { host: Link; pod: Link };
  try {
    pair = createVeth(host, pod, spec);
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
    assertUnplugged(pod, ifname);
    // The same attachment in an earlier namespace, which something keeps alive: its DEL never came.
    removeLink(host, { name: hostName });
    pair = createVeth(host, pod, spec);
  }
  preferSysctls(host, { [`ipv6/conf/${hostName}/accept_ra`]: "0" });
  return pair;
}

/** A MAC address made from the IP address: who gets the address next gets the MAC too, and no neighbour is misled. */
export function macOf(address: string | undefined, label: string): string {
  if (address === undefined || address.includes(":")) return hashedMac(address ?? label);
  return formatMac(Uint8Array.of(0x0a, 0x58, ...parseIp(address.split("/")[0]!)!));
}

/**
 * The pair whose inner end is `ifname` in the pod, with the MAC address that ADD told, if it told one: by index, so that pairs
 * that another suite made pass too. Throws, code 101, what is missing or different.
 */
export function findPair(pod: Namespace, ifname: string, mac: string | undefined): { inner: Link; outer: Link } {
  const differs = (what: string) => new CniError(codes.checkFailed, `Cannot use link "${ifname}": ${what}`);
  const inner = findLink(pod, ifname);
  if (!inner) throw differs("it is not in the container");
  if (mac && mac.toLowerCase() !== inner.mac) throw differs(`its MAC address is ${inner.mac}, not ${mac}`);
  const outer = inner.link === undefined ? undefined : findLink(host, inner.link);
  if (outer?.info?.kind !== "veth") throw differs("its other end is not on the host");
  return { inner, outer };
}

/**
 * Removes an attachment's pair, wherever it is found; returns when both ends are unlisted. False: there was none by that
 * name, so that whatever is left of the attachment may be another suite's.
 */
export function unplugPod(hostName: string, netns: string, ifname: string): boolean {
  if (unplugLink(hostName)) return true;
  // A pair that another suite made has a name of its own: it is found in the pod.
  inPodIfAny(netns, (pod) => removeLink(pod, { name: ifname }));
  return false;
}

/** GC: removes the pairs of attachments to this network that are not to be kept. */
export function sweepPods({ network, keep }: { network: string; keep: ReadonlySet<string> }): void {
  const isDead = ({ alias = "" }: Link) => isOfNetwork(alias, network) && !keep.has(alias);
  removeLinks(host, listLinks(host, { kind: "veth" }).filter(isDead));
}

/** The labels of the attachments that GC is to keep. */
export function labelsOf(network: string, attachments: readonly Attachment[]): Set<string> {
  return new Set(attachments.map(({ containerId, ifname }) => labelOf(network, containerId, ifname)));
}
