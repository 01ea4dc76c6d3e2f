// Neighbours and forwarding entries: RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH. linux/neighbour.h struct ndmsg, NDA_*.
// Family AF_BRIDGE stands for the forwarding table (FDB) of a bridge or a vxlan device: MAC address to where it lives.
import { attrs, be16, ip, mac, u32, type Writer } from "../attr.ts";
import { familyOf, parseIp } from "../inet.ts";
import { type Answer, type Message, NLM_F_CREATE, NLM_F_REPLACE } from "../socket.ts";

const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
const AF_BRIDGE = 7;
const HEADER = 12;

export const NUD_PERMANENT = 0x80;
/** The entry is the device's own, not of the bridge that it is a port of. */
const NTF_SELF = 2;

const fields = attrs({ ip: [1, ip], mac: [2, mac], port: [6, be16], vni: [7, u32], link: [8, u32] });

/** Who has an address on a link. */
export interface Neighbour {
  index: number;
  ip: string;
  mac?: string;
  /** NUD_*; default permanent. */
  state?: number;
  flags?: number;
}

/** Where a vxlan device sends frames for a MAC address: to the VTEP at `ip`. */
export interface Forwarding {
  index: number;
  mac: string;
  ip?: string;
  /** Where it is not the device's. */
  port?: number;
  vni?: number;
  state?: number;
  flags?: number;
}

function header(to: Writer, family: number, index: number, state: number, flags: number): void {
  to.u8(family);
  to.skip(3);
  to.u32(index);
  to.u16(state);
  to.u8(flags);
  to.skip(1);
}

function writeNeighbour(to: Writer, { index, ip, mac, state = NUD_PERMANENT, flags = 0 }: Neighbour): void {
  const bytes = parseIp(ip);
  if (!bytes) throw new TypeError(`Cannot write neighbour "${ip}": not an IP address`);
  header(to, familyOf(bytes), index, state, flags);
  fields.write(to, { ip, mac });
}

/** Makes this the entry of its address on the link. */
export function replaceNeighbour(neighbour: Neighbour): Message {
  return {
    label: `set neighbour ${neighbour.ip} of link ${neighbour.index}`,
    type: RTM_NEWNEIGH,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    write: (to) => writeNeighbour(to, neighbour),
  };
}

/** Removes the entry of an address. ENOENT if there is none. */
export function deleteNeighbour({ index, ip }: Pick<Neighbour, "index" | "ip">): Message {
  return {
    label: `delete neighbour ${ip} of link ${index}`,
    type: RTM_DELNEIGH,
    flags: 0,
    write: (to) => writeNeighbour(to, { index, ip, state: 0 }),
  };
}

function writeForwarding(to: Writer, entry: Forwarding): void {
  const { index, mac, ip, port, vni, state = NUD_PERMANENT } = entry;
  header(to, AF_BRIDGE, index, state, NTF_SELF);
  fields.write(to, { ip, mac, port, vni });
}

/** Makes this the one entry of its MAC address in the device's own table. */
export function replaceForwarding(entry: Forwarding): Message {
  return {
    label: `set forwarding of ${entry.mac} to ${entry.ip}`,
    type: RTM_NEWNEIGH,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    write: (to) => writeForwarding(to, entry),
  };
}

/** Removes the entry of a MAC address; with `ip`, only if it leads there. ENOENT if there is none. */
export function deleteForwarding({ index, mac, ip }: Pick<Forwarding, "index" | "mac" | "ip">): Message {
  return {
    label: `delete forwarding of ${mac}`,
    type: RTM_DELNEIGH,
    flags: 0,
    write: (to) => writeForwarding(to, { index, mac, ip, state: 0 }),
  };
}

/** Asks for the neighbours of one family on one link. */
export function dumpNeighbours(family: 2 | 10, index: number): Message {
  return {
    label: `list neighbours of link ${index}`,
    type: RTM_GETNEIGH,
    flags: 0,
    write(to) {
      header(to, family, 0, 0, 0); // a link here would be refused: it is asked for by an attribute
      fields.write(to, { link: index });
    },
  };
}

/** Asks for the forwarding entries of one device. */
export function dumpForwarding(index: number): Message {
  return {
    label: `list forwarding of link ${index}`,
    type: RTM_GETNEIGH,
    flags: 0,
    write: (to) => header(to, AF_BRIDGE, index, 0, 0),
  };
}

function readHeader({ payload }: Pick<Answer, "payload">) {
  if (payload.length < HEADER) throw new RangeError(`Cannot read a neighbour from ${payload.length} bytes`);
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  return { index: view.getInt32(4, true), state: view.getUint16(8, true), flags: payload[10]! };
}

/** Reads the payload of an RTM_NEWNEIGH of family IPv4 or IPv6. */
export function readNeighbour(answer: Pick<Answer, "payload">): Neighbour {
  const head = readHeader(answer);
  const { ip = "", mac } = fields.read(answer.payload.subarray(HEADER));
  return { ...head, ip, ...(mac === undefined ? {} : { mac }) };
}

/** Reads the payload of an RTM_NEWNEIGH of family AF_BRIDGE. */
export function readForwarding(answer: Pick<Answer, "payload">): Forwarding {
  const head = readHeader(answer);
  const { ip, mac = "", port, vni } = fields.read(answer.payload.subarray(HEADER));
  const entry: Forwarding = { ...head, mac };
  if (ip !== undefined) entry.ip = ip;
  if (port !== undefined) entry.port = port;
  if (vni !== undefined) entry.vni = vni;
  return entry;
}
