// The filter of iptables-legacy, which nftables neither shows nor changes. Whether its FORWARD drops is read from the kernel
// (linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h: struct ipt_getinfo, ipt_get_entries, ipt_entry).
// To take rules out is to replace the table without them (legacy-table.ts); to add any is left to iptables, the one program
// that this suite ever executes here, and only where that filter drops.
import { CniError, codes } from "../cni/errors.ts";
import type { Namespace } from "../netns/netns.ts";
import { close } from "../sys/file.ts";
import { errno, SystemError, system } from "../sys/libc.ts";
import { filtered } from "../sys/list.ts";
import { findProgram, runFound } from "../sys/program.ts";
import { comments, type Family, families, familyOf, ofFamily } from "./iptables.ts";
import { hasLegacyTable, type LegacyRule, legacyRules, removeLegacyRules } from "./legacy-table.ts";

/** Where things are in the entries of each family. */
const shapes = {
  4: { program: "iptables", domain: 2, level: 0, match: 84, header: 112 },
  6: { program: "ip6tables", domain: 10, level: 41, match: 136, header: 168 },
} as const;

const SOCK_RAW_CLOEXEC = 0o2000003;
const IPPROTO_RAW = 255;
const GET_INFO = 64; // IPT_SO_GET_INFO, IP6T_SO_GET_INFO
const GET_ENTRIES = 65;
const NF_INET_FORWARD = 2;
const nameSize = 32; // XT_TABLE_MAXNAMELEN, and struct xt_entry_target
const DROP = -1; // -NF_DROP - 1

/** Whether a family has a legacy filter at all. */
export function hasLegacyFilter(ns: Namespace, family: Family): boolean {
  return hasLegacyTable(ns, family === 4 ? "ip" : "ip6", "filter");
}

/** Whether the legacy FORWARD of a family drops what no rule of its accepts. */
export function legacyDrops(ns: Namespace, family: Family): boolean {
  return hasLegacyFilter(ns, family) && readFilter(ns, family);
}

function readFilter(ns: Namespace, family: Family): boolean {
  const { domain, level, match, header } = shapes[family];
  const fd = ns.run(() => system("socket", domain, SOCK_RAW_CLOEXEC, IPPROTO_RAW));
  if (fd < 0) throw new SystemError("open a raw socket", errno());
  try {
    const get = (what: number, size: number): Uint8Array => {
      const bytes = new Uint8Array(size);
      bytes.set(new TextEncoder().encode("filter"));
      if (what === GET_ENTRIES) new DataView(bytes.buffer).setUint32(nameSize, size - nameSize - 8, true);
      const length = new Uint8Array(new Uint32Array([size]).buffer);
      if (system("getsockopt", fd, level, what, bytes, length) < 0) {
        const error = errno();
        throw new SystemError(`read the legacy filter of ${shapes[family].program}`, error);
      }
      return bytes;
    };
    // The table may be replaced by a larger one in between.
    for (let attempt = 1; ; attempt++) {
      const info = new DataView(get(GET_INFO, 84).buffer);
      const [first, policy] = [36, 56].map((at) => info.getUint32(at + 4 * NF_INET_FORWARD, true));
      try {
        const entries = get(GET_ENTRIES, nameSize + 8 + info.getUint32(80, true)).subarray(nameSize + 8);
        return read(entries, first!, policy!, match, header);
      } catch (error) {
        if (!(error instanceof SystemError) || error.code !== "EAGAIN" || attempt === 100) throw error;
      }
    }
  } finally {
    close(fd);
  }
}

/** Walks FORWARD from its first rule to its policy, looking for one that ends every packet. */
function read(entries: Uint8Array, first: number, policy: number, match: number, header: number): boolean {
  const view = new DataView(entries.buffer, entries.byteOffset, entries.length);
  const decoder = new TextDecoder("latin1");
  let drops = false;
  let next = 0;
  for (let at = first; at <= policy && at < entries.length && !drops; at += next) {
    const start = at + view.getUint16(at + match + 4, true); // target_offset
    next = view.getUint16(at + match + 6, true);
    const name = decoder.decode(entries.subarray(start + 2, start + 31)).replace(/\0.*$/s, "");
    const ends = name === "" ? view.getInt32(start + nameSize, true) === DROP : name === "REJECT";
    // Without modules the target follows at once, without addresses and links what they are compared with is zero.
    const all = start - at === header && entries.subarray(at, at + match).every((byte) => byte === 0);
    drops = ends && all;
    if (next === 0) throw new RangeError("Cannot read the legacy filter: an entry has no end");
  }
  return drops;
}

/** Lets addresses through in the legacy FORWARD of these families, by the program of iptables. */
export function acceptInLegacy(addresses: readonly string[], admin: string, asked: readonly Family[]): void {
  for (const family of asked) {
    const own = ofFamily(addresses, family);
    if (own.length === 0) continue;
    edit(family, (there) => {
      const chains = ["CNI-FORWARD", admin].filter((chain) => !there.some((line) => line.startsWith(`:${chain} `)));
      const leads = [
        `FORWARD -m comment --comment "${comments.rules}" -j CNI-FORWARD`,
        `CNI-FORWARD -m comment --comment "${comments.admin}" -j ${admin}`,
      ].filter((rule) => !there.includes(`-A ${rule}`));
      const rules = own.flatMap(rulesOf).filter((rule) => !there.includes(`-A ${rule}`));
      return [
        ...chains.map((chain) => `-N ${chain}`),
        ...leads.map((rule) => `-I ${rule}`),
        ...rules.map((rule) => `-A ${rule}`),
      ];
    });
  }
}

/** Takes the rules of addresses away. No such filter, no rules: nothing to do. */
export function removeFromLegacy(ns: Namespace, addresses: readonly string[]): void {
  for (const family of families) {
    const own = ofFamily(addresses, family);
    if (own.length === 0) continue;
    removeLegacyRules(ns, family === 4 ? "ip" : "ip6", "filter", (rules) =>
      filtered(rules, (rule) => own.includes(acceptedBy(rule)?.split(" ")[1] ?? "")),
    );
  }
}

/** Whether each address has its rules, whoever wrote them. */
export function hasInLegacy(ns: Namespace, addresses: readonly string[]): boolean {
  return families.every((family) => {
    const own = ofFamily(addresses, family);
    const there = own.length ? legacyRules(ns, family === 4 ? "ip" : "ip6", "filter").map(acceptedBy) : [];
    return own.every((address) => there.includes(`to ${address}`) && there.includes(`from ${address}`));
  });
}

/** Whether the reference keeps bridges apart on this host. */
export function hasLegacyGuard(ns: Namespace): boolean {
  return legacyRules(ns, "ip", "filter").some(({ from }) => from === "CNI-ISOLATION-STAGE-1");
}

/** "to ADDRESS" or "from ADDRESS" for rules of that kind; undefined for others. */
function acceptedBy({ from, accepts, facts }: LegacyRule): string | undefined {
  const { source, destination, ...rest } = facts;
  if (from !== "CNI-FORWARD" || !accepts || Object.keys(rest).length > 0) return undefined;
  if (source !== undefined && destination !== undefined) return undefined;
  if (source !== undefined) return `from ${source}`;
  return destination === undefined ? undefined : `to ${destination}`;
}

/** Throws, with code 101, unless each address has its rules. */
export function checkInLegacy(addresses: readonly string[], asked: readonly Family[]): void {
  for (const family of asked) {
    const own = ofFamily(addresses, family);
    const there = own.length ? save(family) : [];
    const missing = own.flatMap(rulesOf).find((rule) => !there.includes(`-A ${rule}`));
    if (missing) throw new CniError(codes.checkFailed, `Cannot find rule "${missing}" in ${shapes[family].program}`);
  }
}

/** Both rules of an address, as iptables-save prints them. */
function rulesOf(address: string): string[] {
  const one = `${address}/${familyOf(address) === 4 ? 32 : 128}`;
  return [
    `CNI-FORWARD -d ${one} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    `CNI-FORWARD -s ${one} -j ACCEPT`,
  ];
}

/** Makes what `plan` wants of the lines that are there; planned anew when somebody else was quicker. */
function edit(family: Family, plan: (there: string[]) => string[]): void {
  for (let attempt = 1; ; attempt++) {
    const lines = plan(save(family));
    if (lines.length === 0) return;
    try {
      run(family, "restore", ["*filter", ...lines, "COMMIT", ""].join("\n"), ["--noflush", "--wait=10"]);
      return;
    } catch (error) {
      if (attempt === 5) throw error;
    }
  }
}

function save(family: Family): string[] {
  return run(family, "save", "", ["-t", "filter"]).split("\n");
}

function run(family: Family, verb: "save" | "restore", input: string, args: string[]): string {
  const { program } = shapes[family];
  const names = [`${program}-legacy-${verb}`, `${program}-${verb}`];
  const path = findProgram(...names);
  if (!path) {
    throw new CniError(
      codes.systemFailure,
      `Cannot change the legacy filter of ${program}: none of ${names.join(", ")} is installed`,
    );
  }
  const ran = runFound(path, args, input);
  if (ran.status !== 0) {
    throw new CniError(codes.systemFailure, `Cannot run ${path}: it ended with status ${ran.status}`, {
      details: input || undefined,
    });
  }
  return ran.output;
}
