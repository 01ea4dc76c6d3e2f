// Classes of a hierarchical token bucket: RTM_NEWTCLASS, RTM_GETTCLASS. linux/pkt_sched.h struct tc_htb_opt, TCA_HTB_*.
import { attrs, struct, u32, u64 } from "../attr.ts";
import { type Answer, type Message, NLM_F_CREATE } from "../socket.ts";
import { type Kinds, readObject, type TcObject, writeObject } from "./message.ts";
import { rateSpec } from "./rate.ts";

const RTM_NEWTCLASS = 40;
const RTM_GETTCLASS = 42;

/** TCA_HTB_*: `buffer` and `ceilBuffer` are ticks; `quantum` is what it sends before another class gets its turn. */
export const htbClass = attrs({
  parms: [
    1,
    struct(
      44,
      { rate: rateSpec, ceil: rateSpec, buffer: u32, ceilBuffer: u32, quantum: u32, level: u32, priority: u32 },
      { rate: 12, ceil: 12, buffer: 4, ceilBuffer: 4, quantum: 4, level: 4, priority: 4 },
    ),
  ],
  rate64: [6, u64],
  ceil64: [7, u64],
});

const kinds: Kinds = { htb: htbClass };

/** Adds a class, or changes the one of that handle. */
export function createClass(object: TcObject): Message {
  return {
    label: `create ${object.kind} class of link ${object.link}`,
    type: RTM_NEWTCLASS,
    flags: NLM_F_CREATE,
    write: (to) => writeObject(to, object, kinds),
  };
}

/** Asks for the classes of a link. */
export function dumpClasses(link: number): Message {
  return {
    label: `list classes of link ${link}`,
    type: RTM_GETTCLASS,
    flags: 0,
    write: (to) => writeObject(to, { link }, kinds),
  };
}

/** Reads the payload of an RTM_NEWTCLASS. */
export function readClass(answer: Pick<Answer, "payload">): TcObject {
  const { info: _, ...object } = readObject(answer, kinds);
  return object;
}
