// Takes over the tunnel's device of another agent: by its new name it is ours, with its MAC address, its VNI and its port, and
// packets go on passing. What stands on it is brought in order by the programming that follows.
import { findLink, setLinkUp } from "../../lib/ip/link.ts";
import { setLink } from "../../lib/netlink/rtnl/link.ts";
import type { Namespace } from "../../lib/netns/netns.ts";
import { isErrno } from "../../lib/sys/libc.ts";

/** Renames the vxlan device `from` to `to`, unless that is there already; its MAC address, undefined where there is none. */
export function adoptDevice(ns: Namespace, from: string, to: string): string | undefined {
  const there = findLink(ns, to);
  if (there) return there.mac;
  const link = findLink(ns, from);
  if (link?.info?.kind !== "vxlan") return undefined;
  const { index } = link;
  const rename = () => ns.route.request(setLink({ index, name: to }));
  try {
    rename();
  } catch (error) {
    if (!isErrno(error, "EBUSY")) throw error;
    // Kernels before 6.2 rename no link that is up; its routes are back with the next programming, some milliseconds on.
    setLinkUp(ns, index, false);
    rename();
    setLinkUp(ns, index);
  }
  return link.mac;
}
