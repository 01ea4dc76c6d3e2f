// VLANs of a bridge's port: AF_BRIDGE messages with IFLA_AF_SPEC. linux/if_bridge.h IFLA_BRIDGE_*, struct bridge_vlan_info.
import { eachAttr, type Type, u16, type Writer, writeAttr } from "../attr.ts";
import type { Answer, Message } from "../socket.ts";

const RTM_SETLINK = 19;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const AF_BRIDGE = 7;
const IFLA_AF_SPEC = 26;
const IFLA_EXT_MASK = 29;
const IFLA_BRIDGE_VLAN_INFO = 2;
const RTEXT_FILTER_BRVLAN = 2;

const PVID = 2;
const UNTAGGED = 4;
const RANGE_BEGIN = 8;
const RANGE_END = 16;

/** One VLAN, or the run from `id` to `end`, of a port. */
export interface PortVlan {
  id: number;
  end?: number;
  /** Untagged frames that come in belong to it. */
  pvid?: boolean;
  /** Its frames go out untagged. */
  untagged?: boolean;
}

const info: Type<PortVlan[]> = {
  nested: true,
  write(to, vlans) {
    const put = (id: number, flags: number) => {
      if (!(id >= 1 && id <= 4094)) throw new RangeError(`Cannot write VLAN ${id}: must be 1 to 4094`);
      to.u16(8); // length and type of the attribute, struct bridge_vlan_info
      to.u16(IFLA_BRIDGE_VLAN_INFO);
      to.u16(flags);
      to.u16(id);
    };
    writeAttr(to, 0, u16, 1); // BRIDGE_FLAGS_MASTER: the port's table, not the link's own
    for (const { id, end, pvid, untagged } of vlans) {
      const flags = (pvid ? PVID : 0) | (untagged ? UNTAGGED : 0);
      if (end === undefined || end === id) put(id, flags);
      else {
        put(id, flags | RANGE_BEGIN);
        put(end, flags | RANGE_END);
      }
    }
  },
  read(from) {
    const vlans: PortVlan[] = [];
    eachAttr(from, (type, payload) => {
      if (type !== IFLA_BRIDGE_VLAN_INFO) return;
      const flags = u16.read(payload);
      vlans.push({ id: u16.read(payload.subarray(2)), pvid: !!(flags & PVID), untagged: !!(flags & UNTAGGED) });
    });
    return vlans;
  },
};

function writeHeader(to: Writer, index: number): void {
  to.u8(AF_BRIDGE);
  to.skip(3);
  to.u32(index);
  to.skip(8);
}

/** Adds VLANs to a port. */
export function addPortVlans(index: number, vlans: PortVlan[]): Message {
  return {
    label: `add VLANs to port ${index}`,
    type: RTM_SETLINK,
    flags: 0,
    write: (to) => {
      writeHeader(to, index);
      writeAttr(to, IFLA_AF_SPEC, info, vlans);
    },
  };
}

/** Takes VLANs off a port: despite its number, this message deletes no link. */
export function deletePortVlans(index: number, vlans: PortVlan[]): Message {
  return { ...addPortVlans(index, vlans), label: `delete VLANs of port ${index}`, type: RTM_DELLINK };
}

/** Asks for the VLANs of all ports. */
export function dumpPortVlans(): Message {
  return {
    label: "list VLANs of bridge ports",
    type: RTM_GETLINK,
    flags: 0,
    write: (to) => {
      writeHeader(to, 0);
      writeAttr(to, IFLA_EXT_MASK, { write: (to) => to.u32(RTEXT_FILTER_BRVLAN), read: () => 0 }, 0);
    },
  };
}

/** Reads the answer: the port's index and its VLANs, one by one. */
export function readPortVlans({ payload }: Pick<Answer, "payload">): { index: number; vlans: PortVlan[] } {
  if (payload.length < 16) throw new RangeError(`Cannot read a port from ${payload.length} bytes`);
  let vlans: PortVlan[] = [];
  eachAttr(payload.subarray(16), (type, nested) => {
    if (type === IFLA_AF_SPEC) vlans = info.read(nested);
  });
  return { index: new DataView(payload.buffer, payload.byteOffset, payload.length).getInt32(4, true), vlans };
}
