// Addresses of links: RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR. linux/if_addr.h struct ifaddrmsg, IFA_*.
import { attrs, ip, text, u32, type Writer } from "../attr.ts";
import { familyOf, parseIp } from "../inet.ts";
import { type Answer, type Message, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from "../socket.ts";

const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;

export const IFA_F_NODAD = 2;
export const IFA_F_DADFAILED = 8;
export const IFA_F_TENTATIVE = 0x40;
export const IFA_F_PERMANENT = 0x80;

const fields = attrs({ address: [1, ip], local: [2, ip], label: [3, text], broadcast: [4, ip], flags: [8, u32] });

/** One address of a link: `ip` with the length of its network's prefix. */
export interface Address {
  index: number;
  ip: string;
  prefix: number;
  broadcast?: string;
  flags?: number;
  /** RT_SCOPE_*; 0 is universe. */
  scope?: number;
  label?: string;
}

function writeAddress(to: Writer, { index, ip, prefix, broadcast, flags, scope = 0, label }: Address): void {
  const bytes = parseIp(ip);
  if (!bytes) throw new TypeError(`Cannot write address "${ip}": not an IP address`);
  if (prefix > bytes.length * 8) throw new RangeError(`Cannot write address "${ip}/${prefix}": the prefix is too long`);
  to.u8(familyOf(bytes));
  to.u8(prefix);
  to.u8((flags ?? 0) & 0xff);
  to.u8(scope);
  to.u32(index);
  fields.write(to, { local: ip, address: ip, broadcast, label, flags });
}

/** Gives a link an address. EEXIST if it has it. */
export function createAddress(address: Address): Message {
  return {
    label: `add address ${address.ip}/${address.prefix}`,
    type: RTM_NEWADDR,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    write: (to) => writeAddress(to, address),
  };
}

/** Gives a link an address or changes the flags of the one it has. */
export function replaceAddress(address: Address): Message {
  return { ...createAddress(address), flags: NLM_F_CREATE | NLM_F_REPLACE };
}

export function deleteAddress(address: Address): Message {
  return {
    label: `delete address ${address.ip}/${address.prefix}`,
    type: RTM_DELADDR,
    flags: 0,
    write: (to) => writeAddress(to, address),
  };
}

/** Asks for the addresses of one link, or of all where the kernel does not filter (before 4.20). */
export function dumpAddresses(index: number): Message {
  return {
    label: `list addresses of link ${index}`,
    type: RTM_GETADDR,
    flags: 0,
    write: (to) => {
      to.skip(4);
      to.u32(index);
    },
  };
}

/** Reads the payload of an RTM_NEWADDR. */
export function readAddress({ payload }: Pick<Answer, "payload">): Address {
  if (payload.length < 8) throw new RangeError(`Cannot read an address from ${payload.length} bytes`);
  const { local, address, flags, broadcast, label } = fields.read(payload.subarray(8));
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  return {
    index: view.getUint32(4, true),
    ip: local ?? address ?? "",
    prefix: payload[1]!,
    scope: payload[3]!,
    flags: flags ?? payload[2]!,
    broadcast,
    label,
  };
}
