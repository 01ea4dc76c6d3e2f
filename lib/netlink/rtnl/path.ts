// Which way packets to an address leave: RTM_GETROUTE of one address. RFC 3549 section 3.1.1; linux/rtnetlink.h struct rtmsg.
import { attrs, ip, u32 } from "../attr.ts";
import { familyOf, parseIp } from "../inet.ts";
import type { Message } from "../socket.ts";

const RTM_GETROUTE = 26;
const fields = attrs({ destination: [1, ip], source: [2, ip], input: [3, u32] });

/** A packet: where it goes, and whence, if that matters; the index of the link it comes in by, or none for the host's own. */
export interface Packet {
  to: string;
  from?: string;
  input?: number;
}

/** Asks for the route that a packet takes; the answer is read by readRoutes. ENETUNREACH without one. */
export function findPath({ to: destination, from: source, input }: Packet): Message {
  const target = bytesOf(destination);
  const sender = source === undefined ? undefined : bytesOf(source);
  return {
    label: `find the path to ${destination}`,
    type: RTM_GETROUTE,
    flags: 0,
    write(to) {
      to.u8(familyOf(target));
      to.u8(target.length * 8);
      to.u8(sender ? sender.length * 8 : 0);
      to.skip(9);
      fields.write(to, { destination, source, input });
    },
  };
}

function bytesOf(address: string): Uint8Array {
  const bytes = parseIp(address);
  if (!bytes) throw new TypeError(`Cannot find a path: "${address}" is not an IP address`);
  return bytes;
}
