// Tables of iptables-legacy, which nftables neither shows nor changes: read, and rules and chains taken out of them, as that
// program itself does it: the whole table is replaced under its lock, and every rule that stays keeps what it has counted.
// linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h: struct ipt_getinfo, ipt_get_entries, ipt_entry,
// ipt_replace; linux/netfilter/x_tables.h: struct xt_entry_match, xt_entry_target, xt_counters_info.
import { formatIp } from "../netlink/inet.ts";
import type { Namespace } from "../netns/netns.ts";
import { type Facts, factsOf } from "../nftables/facts.ts";
import { module } from "../nftables/xtables.ts";
import { close, O_CREAT, O_RDONLY, open, readTextIfAny, withLock } from "../sys/file.ts";
import { addressOf, errno, SystemError, system } from "../sys/libc.ts";

/** Where things are in the entries of each family. */
const shapes = {
  ip: { names: "ip_tables_names", domain: 2, level: 0, size: 4, link: 16, protocol: 80, match: 84, header: 112 },
  ip6: { names: "ip6_tables_names", domain: 10, level: 41, size: 16, link: 64, protocol: 128, match: 136, header: 168 },
} as const;
export type LegacyFamily = keyof typeof shapes;

const SOCK_RAW_CLOEXEC = 0o2000003;
const IPPROTO_RAW = 255;
const SO_GET_INFO = 64; // IPT_SO_GET_INFO, and IPT_SO_SET_REPLACE; IP6T_ likewise
const SO_GET_ENTRIES = 65; // and IPT_SO_SET_ADD_COUNTERS
const nameSize = 32; // XT_TABLE_MAXNAMELEN, and struct xt_entry_match
const entriesAt = 40; // of struct ipt_get_entries
const replaceSize = 96; // struct ipt_replace without its entries
const hooks = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]; // NF_INET_*
const ACCEPT = -2; // -NF_ACCEPT - 1
const lockFile = "/run/xtables.lock";

/** One rule, or the head or the end of a chain, by where it is in the table. */
export interface LegacyRule {
  at: number;
  length: number;
  /** The chain that it is in. */
  from?: string;
  /** The first and the last entry of a chain: they stay as long as it does. */
  edge?: boolean;
  /** It ends packets' way through the table. */
  accepts?: boolean;
  facts: Facts;
}

interface LegacyTable {
  /** struct ipt_getinfo. */
  info: DataView;
  entries: Uint8Array;
  rules: LegacyRule[];
}

/** Whether there is such a table at all. Asking the kernel itself for one that is not there would make it. */
export function hasLegacyTable(ns: Namespace, family: LegacyFamily, table: string): boolean {
  const names = ns.run(() => readTextIfAny(`/proc/net/${shapes[family].names}`)) ?? "";
  return names.split("\n").includes(table);
}

/** The rules of a table; none where it is not in use. */
export function legacyRules(ns: Namespace, family: LegacyFamily, table: string): LegacyRule[] {
  return hasLegacyTable(ns, family, table) ? withSocket(ns, family, (fd) => readTable(fd, family, table).rules) : [];
}

/** Takes the rules that `plan` chooses out of a table, which is read again if somebody else was quicker. */
export function removeLegacyRules(
  ns: Namespace,
  family: LegacyFamily,
  table: string,
  plan: (rules: readonly LegacyRule[]) => readonly LegacyRule[],
): void {
  // A look without the lock, which others may hold for long: mostly there is nothing to do.
  if (plan(legacyRules(ns, family, table)).length === 0) return;
  const lock = open(lockFile, O_RDONLY | O_CREAT, 0o600);
  try {
    withLock(lock, () =>
      withSocket(ns, family, (fd) => {
        for (let attempt = 1; ; attempt++) {
          const there = readTable(fd, family, table);
          const gone = plan(there.rules);
          if (gone.length === 0 || replace(fd, family, table, there, gone)) return;
          if (attempt === 100) throw new SystemError(`replace the legacy table ${table}`, EAGAIN);
        }
      }),
    );
  } finally {
    close(lock);
  }
}

function withSocket<T>(ns: Namespace, family: LegacyFamily, body: (fd: number) => T): T {
  const fd = ns.run(() => system("socket", shapes[family].domain, SOCK_RAW_CLOEXEC, IPPROTO_RAW));
  if (fd < 0) throw new SystemError("open a raw socket", errno());
  try {
    return body(fd);
  } finally {
    close(fd);
  }
}

const EAGAIN = 11;

/** A buffer that begins with the table's name. */
function named(table: string, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes.set(new TextEncoder().encode(table));
  return bytes;
}

function readTable(fd: number, family: LegacyFamily, table: string): LegacyTable {
  const { level } = shapes[family];
  const get = (what: number, bytes: Uint8Array): Uint8Array => {
    const length = new Uint8Array(new Uint32Array([bytes.length]).buffer);
    if (system("getsockopt", fd, level, what, bytes, length) < 0) {
      const error = errno();
      throw new SystemError(`read the legacy table ${table}`, error);
    }
    return bytes;
  };
  // The table may be replaced by another one in between.
  for (let attempt = 1; ; attempt++) {
    const info = new DataView(get(SO_GET_INFO, named(table, 84)).buffer);
    const size = info.getUint32(80, true);
    const asked = named(table, entriesAt + size);
    new DataView(asked.buffer).setUint32(nameSize, size, true);
    try {
      const entries = get(SO_GET_ENTRIES, asked).slice(entriesAt);
      return { info, entries, rules: readRules(entries, info, family) };
    } catch (error) {
      if (!(error instanceof SystemError) || error.code !== "EAGAIN" || attempt === 100) throw error;
    }
  }
}

function readRules(entries: Uint8Array, info: DataView, family: LegacyFamily): LegacyRule[] {
  const view = new DataView(entries.buffer, entries.byteOffset, entries.length);
  const text = (at: number, length: number) =>
    new TextDecoder("latin1").decode(entries.subarray(at, at + length)).split("\0")[0]!;
  const rules: LegacyRule[] = [];
  const heads = new Map<number, string>();
  const leads: [LegacyRule, number][] = [];
  const valid = info.getUint32(32, true);
  const entered = hooks.map((_, hook) => (valid & (1 << hook) ? info.getUint32(36 + 4 * hook, true) : -1));
  let from: string | undefined;
  for (let at = 0; at < entries.length; ) {
    const target = at + view.getUint16(at + shapes[family].match + 4, true);
    const length = view.getUint16(at + shapes[family].match + 6, true);
    if (entered.includes(at)) from = hooks[entered.indexOf(at)];
    if (length === 0) throw new RangeError("Cannot read a legacy table: an entry has no end");
    const rule: LegacyRule = { at, length, from, facts: {} };
    const name = text(target + 2, 29);
    if (name === "ERROR") {
      // Ends the chain before it: the entry in front is that chain's end.
      if (rules.length > 0) rules.at(-1)!.edge = true;
      from = text(target + nameSize, 30);
      Object.assign(rule, { from, edge: true });
      heads.set(at + length, from);
    } else {
      rule.facts = readFacts(entries.subarray(at, at + length), target - at, family);
      const verdict = name === "" ? view.getInt32(target + nameSize, true) : -1;
      if (verdict >= 0) leads.push([rule, verdict]);
      if (name === "" && verdict === ACCEPT) rule.accepts = true;
    }
    rules.push(rule);
    at += length;
  }
  for (const [rule, to] of leads) {
    const chain = heads.get(to); // none: on to the next rule
    if (chain !== undefined) rule.facts.chain = chain;
  }
  return rules;
}

function readFacts(entry: Uint8Array, target: number, family: LegacyFamily): Facts {
  const { size, protocol, header, link } = shapes[family];
  const view = new DataView(entry.buffer, entry.byteOffset, entry.length);
  const modules = [];
  for (let at = header; at < entry.length; ) {
    const length = view.getUint16(at, true);
    const name = new TextDecoder("latin1").decode(entry.subarray(at + 2, at + 31)).split("\0")[0]!;
    modules.push(
      module(at < target ? "match" : "target", name, entry[at + 31]!, entry.subarray(at + nameSize, at + length)),
    );
    at += length;
  }
  const facts = factsOf({ chain: { table: { family, name: "" }, name: "" }, expressions: modules });
  const inverted = entry[protocol + (family === "ip" ? 3 : 4)]!;
  // struct ipt_ip, ip6t_ip6: addresses, their masks, links; IPT_INV_SRCIP, IPT_INV_DSTIP, IPT_INV_PROTO, IPT_INV_VIA_IN.
  const part = (at: number) => entry.subarray(at * size, (at + 1) * size);
  const isWhole = (mask: Uint8Array) => mask.every((byte) => byte === 255);
  if (isWhole(part(2)) && !(inverted & 8)) facts.source = formatIp(part(0));
  if (isWhole(part(3)) && !(inverted & 16)) facts.destination = formatIp(part(1));
  const number = view.getUint16(protocol, true);
  if (number !== 0 && !(inverted & 64)) facts.protocol = number;
  const by = new TextDecoder().decode(entry.subarray(link, link + 16)).split("\0")[0]!;
  if (by !== "" && !(inverted & 1)) facts.link = by;
  return facts;
}

/** Puts the table without these rules in its place. False: it is no longer the one that was read. */
function replace(
  fd: number,
  family: LegacyFamily,
  table: string,
  { info, entries, rules }: LegacyTable,
  gone: readonly LegacyRule[],
): boolean {
  const { level, match } = shapes[family];
  const kept = rules.filter((rule) => !gone.includes(rule));
  /** Where what was at an offset is now; of what is gone, what follows it. */
  const moved = (at: number) => gone.reduce((sum, rule) => sum - (rule.at < at ? rule.length : 0), at);
  const size = moved(entries.length);
  const bytes = named(table, replaceSize + size);
  const view = new DataView(bytes.buffer);
  const counters = new Uint8Array(16 * rules.length);
  view.setUint32(32, info.getUint32(32, true), true); // valid_hooks
  view.setUint32(36, kept.length, true);
  view.setUint32(40, size, true);
  for (let hook = 0; hook < 2 * hooks.length; hook++) {
    const at = info.getUint32(36 + 4 * hook, true); // hook_entry, underflow; of hooks that the table lacks it is no matter
    view.setUint32(44 + 4 * hook, moved(at), true);
  }
  view.setUint32(84, rules.length, true);
  view.setBigUint64(88, BigInt(addressOf(counters)), true);
  for (const { at, length } of kept) {
    const to = replaceSize + moved(at);
    bytes.set(entries.subarray(at, at + length), to);
    const target = to + view.getUint16(to + match + 4, true);
    const isStandard = bytes[target + 2] === 0;
    const verdict = isStandard ? view.getInt32(target + nameSize, true) : -1;
    if (verdict >= 0) view.setInt32(target + nameSize, moved(verdict), true);
  }
  if (system("setsockopt", fd, level, SO_GET_INFO, bytes, bytes.length) < 0) {
    const error = errno();
    if (error === EAGAIN) return false;
    throw new SystemError(`replace the legacy table ${table}`, error);
  }
  // What was counted up to the replacement, for those that stay.
  const back = named(table, 40 + 16 * kept.length);
  new DataView(back.buffer).setUint32(nameSize, kept.length, true);
  kept.forEach((rule, at) => {
    const old = 16 * rules.indexOf(rule);
    back.set(counters.subarray(old, old + 16), 40 + 16 * at);
  });
  // Counts alone: a refusal loses numbers, no rule.
  system("setsockopt", fd, level, SO_GET_ENTRIES, back, back.length);
  return true;
}
