// Links: RTM_NEWLINK, RTM_SETLINK, RTM_GETLINK, RTM_DELLINK. linux/rtnetlink.h struct ifinfomsg, linux/if_link.h IFLA_*.
import { attrs, eachAttr, i32, mac, type Type, text, u8, u32, type Values, type Writer, writeAttr } from "../attr.ts";
import { type Answer, type Message, NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL } from "../socket.ts";
import { type bridge, bridgePort, kinds } from "./kind.ts";

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_SETLINK = 19;

export const IFF_UP = 1;
export const IFF_LOOPBACK = 8;
export const IFF_RUNNING = 0x40;
export const IFF_PROMISC = 0x100;
export const IFF_ALLMULTI = 0x200;

/** IFLA_OPERSTATE: RFC 2863 states. */
export const IF_OPER_UP = 6;

/** The kind of a link and its settings, and those of the port where its master is a bridge. */
export interface LinkInfo {
  kind?: string;
  /** Settings by the kind's table; for a veth being made, `{ peer }`. */
  data?: Record<string, unknown>;
  port?: Values<typeof bridgePort.fields>;
}

const linkInfo: Type<LinkInfo> = {
  nested: true,
  write(to, { kind, data, port, ...unknown }) {
    for (const name in unknown) throw new TypeError(`Cannot write link info "${name}": there is none of that name`);
    if (kind !== undefined) writeAttr(to, 1, text, kind);
    if (kind === "veth" && data) writeAttr(to, 2, vethData, data as { peer: LinkSpec });
    else if (kind !== undefined && data) writeAttr(to, 2, tableOf(kind), data);
    if (port) {
      writeAttr(to, 4, text, "bridge");
      writeAttr(to, 5, bridgePort, port);
    }
  },
  read(from) {
    const info: LinkInfo = {};
    let master: string | undefined;
    eachAttr(from, (type, payload) => {
      if (type === 1) info.kind = text.read(payload);
      else if (type === 2 && info.kind !== undefined && kinds[info.kind]) info.data = kinds[info.kind]!.read(payload);
      else if (type === 4) master = text.read(payload);
      else if (type === 5 && master === "bridge") info.port = bridgePort.read(payload);
    });
    return info;
  },
};

function tableOf(kind: string): Type<any> {
  const table = kinds[kind];
  if (!table) throw new TypeError(`Cannot write settings of link kind "${kind}": no table for it`);
  return table;
}

/** VETH_INFO_PEER: a whole second link description inside the first. */
const vethData: Type<{ peer: LinkSpec }> = {
  nested: true,
  write(to, { peer }) {
    // Flags must stay 0 here: IFF_UP makes the kernel open the peer before the pair is joined (ENOTCONN).
    writeAttr(to, 1, { nested: false, write: (to, spec: LinkSpec) => writeLink(to, spec), read: () => ({}) }, peer);
  },
  read: () => ({ peer: {} }),
};

export const linkAttrs = attrs({
  mac: [1, mac],
  broadcast: [2, mac],
  name: [3, text],
  mtu: [4, u32],
  link: [5, u32],
  master: [10, u32],
  txQueueLength: [13, u32],
  operState: [16, u8],
  info: [18, linkInfo],
  alias: [20, text],
  group: [27, u32],
  netnsFd: [28, i32],
  extMask: [29, u32],
  promiscuity: [30, u32],
  txQueues: [31, u32],
  rxQueues: [32, u32],
  linkNetnsid: [37, i32],
});

/** A link as described to the kernel. `up` undefined leaves the flag as it is. */
export interface LinkSpec extends Values<typeof linkAttrs.fields> {
  index?: number;
  up?: boolean;
  /** Further IFF_* flags to set (`flags`) among those that may change (`change`). */
  flags?: number;
  change?: number;
}

/** A link as the kernel tells of it. */
export interface Link extends Values<typeof linkAttrs.fields> {
  index: number;
  flags: number;
  /** ARPHRD_*. */
  hardware: number;
}

function writeLink(to: Writer, { index = 0, up, flags = 0, change = 0, ...rest }: LinkSpec, family = 0): void {
  to.u8(family);
  to.skip(3);
  const at = to.skip(12);
  to.view.setInt32(at, index, true);
  to.view.setUint32(at + 4, flags | (up ? IFF_UP : 0), true);
  to.view.setUint32(at + 8, change | (up === undefined ? 0 : IFF_UP), true);
  linkAttrs.write(to, rest);
}

const nameOf = ({ name, index }: { name?: string; index?: number }) => (name === undefined ? `${index}` : `"${name}"`);

// Without both, the kernel takes a group for what is meant: every link of it.
function assertNamed(verb: string, { name, index }: { name?: string; index?: number }): void {
  if (!name && !index) throw new TypeError(`Cannot ${verb} a link: neither its name nor its index is given`);
}

/** Makes a link. The answer tells of the new link where the kernel can echo it (6.2 and later). */
export function createLink(spec: LinkSpec): Message {
  return {
    label: `create ${spec.info?.kind ?? "link"} ${nameOf(spec)}`,
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL | NLM_F_ECHO,
    write: (to) => writeLink(to, spec),
  };
}

/** Changes a link found by index or name. Kind and port settings may change too. */
export function changeLink(spec: LinkSpec): Message {
  assertNamed("change", spec);
  return {
    label: `change link ${nameOf(spec)}`,
    type: RTM_NEWLINK,
    flags: 0,
    write: (to) => writeLink(to, spec),
  };
}

/** Sets what RTM_NEWLINK leaves alone on an existing link: the alias, a new name, another namespace. */
export function setLink(spec: LinkSpec): Message {
  assertNamed("set", spec);
  return { label: `set link ${nameOf(spec)}`, type: RTM_SETLINK, flags: 0, write: (to) => writeLink(to, spec) };
}

/** Deletes one link by index or name. */
export function deleteLink(spec: { name?: string; index?: number }): Message {
  assertNamed("delete", spec);
  const { name, index } = spec;
  return {
    label: `delete link ${nameOf(spec)}`,
    type: RTM_DELLINK,
    flags: 0,
    write: (to) => writeLink(to, { name, index }),
  };
}

/** Deletes every link of a group: for GC alone, on a fresh group that it filled itself. */
export function deleteLinkGroup(group: number): Message {
  if (!(group > 0)) throw new RangeError(`Cannot delete link group ${group}: group 0 holds every link`);
  return { label: `delete link group ${group}`, type: RTM_DELLINK, flags: 0, write: (to) => writeLink(to, { group }) };
}

const RTEXT_FILTER_SKIP_STATS = 8;

/** Asks for one link. */
export function getLink(spec: { name?: string; index?: number }): Message {
  const { name, index } = spec;
  return {
    label: `find link ${nameOf(spec)}`,
    type: RTM_GETLINK,
    flags: 0,
    write: (to) => writeLink(to, { index, name, extMask: RTEXT_FILTER_SKIP_STATS }),
  };
}

/** Asks for all links, or those under one master or of one kind. */
export function dumpLinks(filter: { master?: number; kind?: string } = {}): Message {
  return {
    label: "list links",
    type: RTM_GETLINK,
    flags: 0,
    write: (to) =>
      writeLink(to, {
        master: filter.master,
        info: filter.kind === undefined ? undefined : { kind: filter.kind },
        extMask: RTEXT_FILTER_SKIP_STATS,
      }),
  };
}

/** Reads the payload of an RTM_NEWLINK or RTM_DELLINK. */
export function readLink({ payload }: Pick<Answer, "payload">): Link {
  if (payload.length < 16) throw new RangeError(`Cannot read a link from ${payload.length} bytes`);
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  return {
    ...linkAttrs.read(payload.subarray(16)),
    hardware: view.getUint16(2, true),
    index: view.getInt32(4, true),
    flags: view.getUint32(8, true),
  };
}

/** Group of link notifications (RTNLGRP_LINK) and the type of the one that tells of a link's end. */
export const RTMGRP_LINK = 1;
export const LINK_GONE = RTM_DELLINK;

export type BridgeSettings = Values<typeof bridge.fields>;
export type PortSettings = Values<typeof bridgePort.fields>;
