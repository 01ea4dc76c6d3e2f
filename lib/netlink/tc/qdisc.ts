// Queueing disciplines: RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC, and the settings of each kind that we use.
// linux/pkt_sched.h TCA_TBF_*, TCA_HTB_*, struct tc_tbf_qopt, tc_htb_glob, tc_fifo_qopt.
import { attrs, struct, u32, u64, type Values } from "../attr.ts";
import { type Answer, type Message, NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL } from "../socket.ts";
import { handle, type Kinds, type Place, readObject, TC_H_CLSACT, type TcObject, writeObject } from "./message.ts";
import { rateSpec } from "./rate.ts";

const RTM_NEWQDISC = 36;
const RTM_DELQDISC = 37;
const RTM_GETQDISC = 38;

/** Token bucket: `limit` bytes may wait, `buffer` ticks' worth may pass at once. */
export const tbf = attrs({
  parms: [
    1,
    struct(
      36,
      { rate: rateSpec, peakRate: rateSpec, limit: u32, buffer: u32, mtu: u32 },
      { rate: 12, peakRate: 12, limit: 4, buffer: 4, mtu: 4 },
    ),
  ],
  rate64: [4, u64],
  burst: [6, u32], // in bytes, and then `buffer` is not looked at
});

/** Hierarchical token bucket: what has no class goes to `defaultClass`, or unhindered where that is 0. */
export const htb = attrs({
  init: [
    2,
    struct(
      20,
      { version: u32, rate2quantum: u32, defaultClass: u32, debug: u32, directPackets: u32 },
      { version: 4, rate2quantum: 4, defaultClass: 4, debug: 4, directPackets: 4 },
    ),
  ],
  directQueueLength: [5, u32],
});

/** A plain queue of `limit` bytes. */
export const bfifo = struct(4, { limit: u32 }, { limit: 4 });

const kinds: Kinds = { tbf, htb, bfifo };

export type TbfSettings = Values<typeof tbf.fields>;
export type HtbSettings = Values<typeof htb.fields>;
export type Qdisc = TcObject;

const where = ({ link, kind }: Qdisc) => `${kind ?? "queueing discipline"} of link ${link}`;

/** Adds one, or changes the settings of the one with the same handle and kind. EEXIST if another stands there. */
export function createQdisc(qdisc: Qdisc): Message {
  return {
    label: `create ${where(qdisc)}`,
    type: RTM_NEWQDISC,
    flags: NLM_F_CREATE,
    write: (to) => writeObject(to, qdisc, kinds),
  };
}

/** Adds the hooks for filters that see every frame. EEXIST if the link has hooks, of either kind. */
export function createClsact(link: number): Message {
  const qdisc = { link, kind: "clsact", handle: handle(0xffff), parent: TC_H_CLSACT };
  return { ...createQdisc(qdisc), flags: NLM_F_CREATE | NLM_F_EXCL };
}

/** Deletes the one at that place: ENOENT if there is none, EINVAL if it has another handle. */
export function deleteQdisc(place: Place): Message {
  return {
    label: `delete ${where(place)}`,
    type: RTM_DELQDISC,
    flags: 0,
    write: (to) => writeObject(to, place, kinds),
  };
}

/** Asks for the one at that place. A list would be of every link: the kernel does not filter it. */
export function getQdisc(place: Place): Message {
  return {
    label: `find ${where(place)}`,
    type: RTM_GETQDISC,
    flags: NLM_F_ECHO, // without it, older kernels tell everybody but who asked
    write: (to) => writeObject(to, place, kinds),
  };
}

/** Reads the payload of an RTM_NEWQDISC. */
export function readQdisc(answer: Pick<Answer, "payload">): Qdisc {
  const { info: _, ...qdisc } = readObject(answer, kinds);
  return qdisc;
}
