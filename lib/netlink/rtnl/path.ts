// Which way packets to an address leave: RTM_GETROUTE of one address. RFC 3549 section 3.1.1; linux/rtnetlink.h struct rtmsg.
import { attrs, ip } from "../attr.ts";
import { familyOf, parseIp } from "../inet.ts";
import type { Message } from "../socket.ts";

const RTM_GETROUTE = 26;
const fields = attrs({ destination: [1, ip] });

/** Asks for the route that packets to an address take; the answer is read by readRoutes. ENETUNREACH without one. */
export function findPath(address: string): Message {
  const bytes = parseIp(address);
  if (!bytes) throw new TypeError(`Cannot find a path to "${address}": not an IP address`);
  return {
    label: `find the path to ${address}`,
    type: RTM_GETROUTE,
    flags: 0,
    write(to) {
      to.u8(familyOf(bytes));
      to.u8(bytes.length * 8);
      to.skip(10);
      fields.write(to, { destination: address });
    },
  };
}
