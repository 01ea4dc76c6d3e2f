// The MTU of a pod that somebody else's plugin attached: lowered, at both ends, to what a tunnel leaves of it.
import { CniError, codes } from "../cni/errors.ts";
import type { Attachment, Part } from "../cni/request.ts";
import { containerEnd, type Interface, type Result } from "../cni/result.ts";
import { changeLink } from "../netlink/rtnl/link.ts";
import type { Namespace } from "../netns/netns.ts";
import { findLink, type Link } from "./link.ts";
import { namesOf } from "./plug.ts";
import { host, inPod } from "./pod.ts";

/** The attachment whose interface it is. */
export interface PodEnd {
  netns: string;
  ifname: string;
}

function innerLink(pod: Namespace, ifname: string): Link {
  const link = findLink(pod, ifname);
  if (!link) throw new CniError(codes.checkFailed, `Cannot find link "${ifname}" in the container`);
  return link;
}

/**
 * Makes the pod's link and the host's end of it carry `mtu` bytes at most; less is left as it is. The result says so where it
 * tells of MTUs. A result that says already that the pod has no more is believed.
 */
export function lowerMtu(host: Namespace, end: PodEnd, result: Result, mtu: number): Result {
  const told = containerEnd(result, end.ifname, end.netns)?.mtu;
  if (told !== undefined && told <= mtu) return result;
  const lowered = inPod(end.netns, (pod) => {
    const inner = innerLink(pod, end.ifname);
    if ((inner.mtu ?? 0) <= mtu) return undefined;
    pod.route.request(changeLink({ index: inner.index, mtu }));
    const outer = inner.info?.kind === "veth" && inner.link !== undefined ? findLink(host, inner.link) : undefined;
    if (outer?.info?.kind !== "veth") return [];
    if ((outer.mtu ?? 0) > mtu) host.route.request(changeLink({ index: outer.index, mtu }));
    // A bridge whose MTU nobody chose takes the lowest of its ports'.
    return [outer.index, outer.master].flatMap((index) => (index === undefined ? [] : (findLink(host, index) ?? [])));
  });
  if (!lowered) return result;
  const interfaces = result.interfaces?.map((one): Interface => {
    if (one.name === end.ifname && one.sandbox === end.netns) return { ...one, mtu };
    const link = one.sandbox ? undefined : lowered.find(({ name }) => name === one.name);
    return link ? { ...one, mtu: link.mtu } : one;
  });
  return { ...result, interfaces };
}

/** Throws, with code 101, if the pod's link carries more than `mtu` bytes. */
export function assertMtu(end: PodEnd, mtu: number): void {
  inPod(end.netns, (pod) => {
    const inner = innerLink(pod, end.ifname);
    if ((inner.mtu ?? 0) > mtu)
      throw new CniError(codes.checkFailed, `Cannot use link "${end.ifname}": its MTU is ${inner.mtu}, over ${mtu}`);
  });
}

/**
 * The lowering as a part, for a pair of links that was made again: a result of before 1.1.0 does not tell of it. `mtu` says
 * how much it may be by now; undefined: no matter.
 */
export function mtuPart(
  request: Attachment & { network: string; prevResult?: Result },
  mtu: () => number | undefined,
): Part {
  const { hostName } = namesOf(request);
  const { ifname, prevResult } = request;
  const netns = containerEnd(prevResult, ifname)?.sandbox;
  return {
    kind: "link",
    name: `${hostName}, MTU`,
    inside: true,
    check: () => {
      const have = findLink(host, hostName)?.mtu ?? 0; // a pair that is missing is another part's affair
      if (have > (mtu() ?? have))
        throw new CniError(codes.checkFailed, `Cannot use link "${hostName}": its MTU is ${have}, over ${mtu()}`);
    },
    ensure: () => {
      const most = mtu();
      // Without its pair there is nothing to lower: the pod is gone or going.
      if (netns && most !== undefined && findLink(host, hostName)) lowerMtu(host, { netns, ifname }, {}, most);
    },
  };
}
