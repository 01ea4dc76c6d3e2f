// The addresses that the other nodes are to reach this one by, where the configuration names none: those of the named link,
// else of the link of the default route. IPv4 before IPv6.
import { findLink } from "../../lib/ip/link.ts";
import { type Address, dumpAddresses, IFA_F_TENTATIVE, readAddress } from "../../lib/netlink/rtnl/address.ts";
import { dumpRoutes, readRoutes } from "../../lib/netlink/rtnl/route.ts";
import type { Namespace } from "../../lib/netns/netns.ts";

/** The addresses, and the MTU of the link that they are on. Throws where there is no such link or it has none. */
export function nodeAddresses(ns: Namespace, underlay?: string): { addresses: string[]; mtu?: number } {
  const index = underlay === undefined ? defaultLink(ns) : findLink(ns, underlay)?.index;
  if (index === undefined) {
    const what = underlay === undefined ? "there is no default route" : `there is no link "${underlay}"`;
    throw new Error(`Cannot tell this node's addresses: ${what}; name them in "addresses"`);
  }
  const all = ns.route
    .dump(dumpAddresses(0))
    .map(readAddress)
    .filter((address) => address.index === index && !/^fe[89ab]|^127\./.test(address.ip))
    // Not yet tested, and those that come and go by themselves (a lifetime, as of privacy extensions).
    .filter(({ flags = 0 }) => (flags & (IFA_F_TENTATIVE | IFA_F_TEMPORARY)) === 0);
  const four = all.filter(({ ip }) => !ip.includes(":"));
  // The kernel lists those of IPv6 newest first; what moves between machines (keepalived's) comes late, alone in its prefix
  // and deprecated.
  const six = all.filter(({ ip }) => ip.includes(":")).reverse();
  six.sort((a, b) => doubts(a) - doubts(b));
  const addresses = [...four.slice(0, 1), ...six.slice(0, 1)].map(({ ip }) => ip);
  const link = findLink(ns, index);
  if (addresses.length === 0)
    throw new Error(`Cannot tell this node's addresses: link "${link?.name}" has none; name them in "addresses"`);
  return { addresses, ...(link?.mtu === undefined ? {} : { mtu: link.mtu }) };
}

// linux/if_addr.h
const IFA_F_TEMPORARY = 1; // as IPv4's IFA_F_SECONDARY
const IFA_F_DEPRECATED = 0x20;

/** How little an IPv6 address looks like the machine's own; one that is deprecated may still be the only one. */
function doubts({ flags = 0, prefix }: Address): number {
  return ((flags & IFA_F_DEPRECATED) !== 0 ? 2 : 0) + (prefix === 128 ? 1 : 0);
}

function defaultLink(ns: Namespace): number | undefined {
  for (const [family, all] of [
    [2, "0.0.0.0/0"],
    [10, "::/0"],
  ] as const) {
    const routes = ns.route
      .dump(dumpRoutes(family))
      .flatMap(readRoutes)
      .filter(({ destination, link }) => destination === all && link !== undefined)
      .sort((a, b) => (a.priority ?? 0) - (b.priority ?? 0));
    if (routes[0]) return routes[0].link;
  }
  return undefined;
}
