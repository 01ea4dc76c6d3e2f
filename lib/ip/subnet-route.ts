// The way from the host to a subnet that lies behind one of its links. The kernel makes it together with the link's address
// and takes it away with it; this is for where somebody else did.
import { CniError, codes } from "../cni/errors.ts";
import { formatCidr, networkOf, parseCidr } from "../netlink/inet.ts";
import { findPath } from "../netlink/rtnl/path.ts";
import { createRoute, RT_SCOPE_LINK, readRoutes } from "../netlink/rtnl/route.ts";
import type { Namespace } from "../netns/netns.ts";

const RTPROT_KERNEL = 2;
const IP6_RT_PRIO_ADDRCONF = 256;

/** Throws, with code 101, unless packets to the address leave by the link of that index. */
export function assertPath(ns: Namespace, link: number, address: string): void {
  const ip = address.split("/")[0]!;
  const [answer] = ns.route.try(findPath({ to: ip }))[0]!.answers;
  const by = answer && readRoutes(answer)[0]?.link;
  if (by !== link) throw new CniError(codes.checkFailed, `Cannot find a route to ${ip} by link ${link}`);
}

/** Leads the subnet of the link's own address "10.0.0.1/24" to the link, as the kernel does. */
export function ensureSubnetRoute(ns: Namespace, link: number, address: string): void {
  const cidr = parseCidr(address)!;
  const destination = formatCidr({ ip: networkOf(cidr), prefix: cidr.prefix });
  const six = cidr.ip.length === 16;
  const how = six ? { priority: IP6_RT_PRIO_ADDRCONF } : { scope: RT_SCOPE_LINK, source: address.split("/")[0]! };
  ns.route.request({ ...createRoute({ destination, link, protocol: RTPROT_KERNEL, ...how }), accept: ["EEXIST"] });
}
