// Rules of policy routing: RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE. linux/fib_rules.h struct fib_rule_hdr, FRA_*.
import { attrs, ip, text, u8, u32, type Writer } from "../attr.ts";
import { type Cidr, familyOf, formatIp, networkOf, parseCidr } from "../inet.ts";
import { type Answer, type Message, NLM_F_CREATE, NLM_F_EXCL } from "../socket.ts";

const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;
const FR_ACT_TO_TBL = 1;
const HEADER = 12;

const fields = attrs({
  to: [1, ip],
  from: [2, ip],
  iif: [3, text],
  priority: [6, u32],
  mark: [10, u32],
  table: [15, u32],
  mask: [16, u32],
  protocol: [21, u8],
});

/** One rule: which packets look into which table. */
export interface Rule {
  family: 2 | 10;
  /** Networks of the source and the destination, "address/length". */
  from?: string;
  to?: string;
  /** Name of the link that the packet came by; "lo": from this host. */
  iif?: string;
  /** Bits of the packet's mark, and which of them count. */
  mark?: number;
  mask?: number;
  table: number;
  /** The lowest is asked first. The kernel's own: 0 local, 32766 main, 32767 default. */
  priority?: number;
  /** Who made it: RTPROT_*. */
  protocol?: number;
  /** FR_ACT_*; default: look into the table. */
  action?: number;
}

function networkIn(text: string | undefined, family: number): Cidr | undefined {
  if (text === undefined) return undefined;
  const cidr = parseCidr(text);
  if (!cidr || familyOf(cidr.ip) !== family)
    throw new TypeError(`Cannot write rule of "${text}": not a network of family ${family}`);
  return cidr;
}

function writeRule(to: Writer, rule: Rule): void {
  const [source, destination] = [networkIn(rule.from, rule.family), networkIn(rule.to, rule.family)];
  to.u8(rule.family);
  to.u8(destination?.prefix ?? 0);
  to.u8(source?.prefix ?? 0);
  to.skip(1);
  to.u8(rule.table < 256 ? rule.table : 0);
  to.skip(2);
  to.u8(rule.action ?? FR_ACT_TO_TBL);
  to.skip(4);
  const { iif, mark, mask, table, priority, protocol } = rule;
  const text = (cidr: Cidr | undefined) => (cidr?.prefix ? formatIp(networkOf(cidr)) : undefined);
  fields.write(to, { to: text(destination), from: text(source), iif, priority, mark, table, mask, protocol });
}

const label = ({ from, to, table }: Rule) =>
  `rule${from ? ` from ${from}` : ""}${to ? ` to ${to}` : ""} lookup ${table}`;

/** Adds a rule. EEXIST if this very rule is there. */
export function createRule(rule: Rule): Message {
  return {
    label: `add ${label(rule)}`,
    type: RTM_NEWRULE,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    write: (to) => writeRule(to, rule),
  };
}

/** Deletes the first rule that has all the fields given. ENOENT if there is none. */
export function deleteRule(rule: Rule): Message {
  return { label: `delete ${label(rule)}`, type: RTM_DELRULE, flags: 0, write: (to) => writeRule(to, rule) };
}

/** Asks for the rules of one family. */
export function dumpRules(family: 2 | 10): Message {
  return {
    label: "list rules",
    type: RTM_GETRULE,
    flags: 0,
    write(to) {
      to.u8(family);
      to.skip(HEADER - 1);
    },
  };
}

/** Reads the payload of an RTM_NEWRULE. */
export function readRule({ payload }: Pick<Answer, "payload">): Rule {
  if (payload.length < HEADER) throw new RangeError(`Cannot read a rule from ${payload.length} bytes`);
  const { from, to, table, ...rest } = fields.read(payload.subarray(HEADER));
  const rule: Rule = { family: payload[0] as 2 | 10, table: table ?? payload[4]!, action: payload[7]!, ...rest };
  if (from !== undefined) rule.from = `${from}/${payload[2]}`;
  if (to !== undefined) rule.to = `${to}/${payload[1]}`;
  return rule;
}
