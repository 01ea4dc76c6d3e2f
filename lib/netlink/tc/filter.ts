// Filters: RTM_NEWTFILTER, RTM_DELTFILTER, RTM_GETTFILTER, of the kind u32: words of a packet compared under masks.
// linux/pkt_cls.h TCA_U32_*, struct tc_u32_sel, tc_u32_key; linux/tc_act/tc_mirred.h.
import { attrs, be32, eachAttr, i32, list, struct, type Type, text, u32, type Values, writeAttr } from "../attr.ts";
import { type Answer, type Message, NLM_F_CREATE, NLM_F_EXCL } from "../socket.ts";
import { type Kinds, type Place, readObject, writeObject } from "./message.ts";

const RTM_NEWTFILTER = 44;
const RTM_DELTFILTER = 45;
const RTM_GETTFILTER = 46;

export const ETH_P_ALL = 3;
export const ETH_P_IP = 0x800;
export const ETH_P_IPV6 = 0x86dd;

/** 32 bits of a packet, `offset` bytes behind the start of its network header. */
export interface Key {
  mask: number;
  value: number;
  offset: number;
}

const key = struct(16, { mask: be32, value: be32, offset: i32 }, { mask: 4, value: 4, offset: 4 });
const TC_U32_TERMINAL = 1;

/** struct tc_u32_sel: all keys must match; then the filter decides, and no later one is asked. */
const selector: Type<Key[]> = {
  write(to, keys) {
    to.u8(TC_U32_TERMINAL);
    to.skip(1);
    to.u8(keys.length);
    to.skip(13);
    for (const one of keys) key.write(to, one);
  },
  read(from) {
    const count = from[2] ?? 0;
    if (from.length < 16 + 16 * count) throw new RangeError(`Cannot read ${count} keys from ${from.length} bytes`);
    return Array.from({ length: count }, (_, at) => key.read(from.subarray(16 + 16 * at)));
  },
};

const TC_ACT_STOLEN = 4;
const TCA_EGRESS_REDIR = 1;
const mirred = struct(
  28,
  { index: u32, capabilities: u32, action: i32, references: i32, binds: i32, direction: i32, link: u32 },
  { index: 4, capabilities: 4, action: 4, references: 4, binds: 4, direction: 4, link: 4 },
);

/** What is done with a packet that matches: sent by another link, as if that had been its way. Others are read by name. */
export interface Action {
  kind: string;
  /** Index of the link that it is redirected to. */
  redirect?: number;
}

const action: Type<Action> = {
  nested: true,
  write(to, { kind, redirect }) {
    if (kind !== "mirred" || !redirect) throw new TypeError(`Cannot write action "${kind}": only redirection is known`);
    const parms = { index: 0, capabilities: 0, action: TC_ACT_STOLEN, references: 0, binds: 0 };
    writeAttr(to, 1, text, kind);
    writeAttr(to, 2, mirredOptions, { parms: { ...parms, direction: TCA_EGRESS_REDIR, link: redirect } });
  },
  read(from) {
    const read: Action = { kind: "" };
    eachAttr(from, (type, payload) => {
      if (type === 1) read.kind = text.read(payload);
      else if (type === 2 && read.kind === "mirred") {
        const { parms } = mirredOptions.read(payload);
        if (parms?.direction === TCA_EGRESS_REDIR) read.redirect = parms.link;
      }
    });
    return read;
  },
};

const mirredOptions = attrs({ parms: [2, mirred] });

/** TCA_U32_*. The kernel's tables of filters are told of like filters, with a divisor and no keys. */
export const u32Filter = attrs({
  class: [1, u32],
  divisor: [4, u32],
  keys: [5, selector],
  actions: [7, { ...list(1, action), read: readActions }],
});

/** The kernel numbers actions: each has a type of its own. */
function readActions(from: Uint8Array): Action[] {
  const read: Action[] = [];
  eachAttr(from, (_, payload) => read.push(action.read(payload)));
  return read;
}

const kinds: Kinds = { u32: u32Filter };

/** A filter. `priority` orders those at one place, lowest first, and all of one priority are of one protocol. */
export interface Filter extends Place {
  priority: number;
  /** ETH_P_*. */
  protocol: number;
  kind?: string;
  options?: Values<typeof u32Filter.fields>;
}

// Priority in the upper half, protocol in network order in the lower.
const infoOf = ({ priority, protocol }: Filter) => priority * 0x10000 + swap(protocol);
const swap = (half: number) => ((half & 0xff) << 8) | (half >> 8);

const nameOf = ({ kind, link, priority }: Filter) => `${kind ?? ""} filter ${priority} of link ${link}`.trim();

/** Adds a filter behind those of the same priority. */
export function createFilter(filter: Filter): Message {
  return {
    label: `create ${nameOf(filter)}`,
    type: RTM_NEWTFILTER,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    write: (to) => writeObject(to, filter, kinds, infoOf(filter)),
  };
}

/** Deletes every filter of that priority and protocol. ENOENT if there is none, EINVAL if nothing is there to hold any. */
export function deleteFilters(filter: Pick<Filter, "link" | "parent" | "priority" | "protocol">): Message {
  return {
    label: `delete ${nameOf(filter)}`,
    type: RTM_DELTFILTER,
    flags: 0,
    write: (to) => writeObject(to, filter, kinds, infoOf(filter)),
  };
}

/** Asks for the filters at one place. EINVAL if nothing is there to hold any. */
export function dumpFilters(place: Place): Message {
  return {
    label: `list filters of link ${place.link}`,
    type: RTM_GETTFILTER,
    flags: 0,
    write: (to) => writeObject(to, place, kinds),
  };
}

/** Reads the payload of an RTM_NEWTFILTER. */
export function readFilter(answer: Pick<Answer, "payload">): Filter {
  const { info, ...filter } = readObject(answer, kinds);
  return { ...filter, priority: info >>> 16, protocol: swap(info & 0xffff) };
}
