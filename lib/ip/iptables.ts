// iptables' own filter, where a host's FORWARD policy usually lives. What table inet tenon accepts, another table can still
// drop; so where FORWARD drops, pods are let through there too, with the rules of the reference plugin:
//
//   -A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
//   -A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN
//   -A CNI-FORWARD -d 10.1.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
//   -A CNI-FORWARD -s 10.1.0.2/32 -j ACCEPT
//
// Tables of iptables-nft are nftables': written over netlink, as iptables writes them, so that it goes on reading them.
// Rules bear no label, or the reference could not delete them: whose an address is, forward-filter.ts knows.
import { CniError, codes } from "../cni/errors.ts";
import { formatIp, parseIp } from "../netlink/inet.ts";
import type { Connection, Message } from "../netlink/socket.ts";
import type { Namespace } from "../netns/netns.ts";
import { addChain, type Chain, getChain, readChain } from "../nftables/chain.ts";
import type { Expression } from "../nftables/expression.ts";
import { accept, count, fromNetwork, jump, type Phrase, toNetwork } from "../nftables/phrase.ts";
import { appendRule, deleteRule, insertRule, listRules, type Rule } from "../nftables/rule.ts";
import { addTable, type Table } from "../nftables/table.ts";
import { change } from "../nftables/transaction.ts";
import { matchComment, matchEstablished, moduleOf } from "../nftables/xtables.ts";
import { isErrno } from "../sys/libc.ts";
import { filtered, mapped } from "../sys/list.ts";

export type Family = 4 | 6;
export const families: readonly Family[] = [4, 6];

export const comments = {
  rules: "CNI firewall plugin rules",
  admin: "CNI firewall plugin admin overrides",
} as const;

/** The chains of one family: iptables' own, the plugin's, the administrator's. */
function chainsOf(family: Family, admin = "") {
  const table: Table = { family: family === 4 ? "ip" : "ip6", name: "filter" };
  const base = { type: "filter", hook: "forward", priority: 0, policy: "accept" } as const;
  return {
    table,
    forward: { table, name: "FORWARD", base } as Chain,
    plugin: { table, name: "CNI-FORWARD" } as Chain,
    isolation: { table, name: "CNI-ISOLATION-STAGE-1" } as Chain,
    admin: { table, name: admin } as Chain,
  };
}

/** The family of an address. */
export const familyOf = (address: string): Family => (address.includes(":") ? 6 : 4);

/** Those of the addresses that are of one family. */
export const ofFamily = (addresses: readonly string[], family: Family): string[] =>
  filtered(addresses, (address) => familyOf(address) === family);

function find(connection: Connection, ...chains: Chain[]): (Chain | undefined)[] {
  return mapped(connection.try(...mapped(chains, getChain)), ({ error, answers }) => {
    if (error && !isErrno(error, "ENOENT")) throw error;
    return error ? undefined : readChain(answers[0]!);
  });
}

/** Whether the FORWARD chain of a family drops what no rule of its accepts: by its policy, or by a rule for all packets. */
export function forwardDrops(ns: Namespace, family: Family): boolean {
  const [chain] = find(ns.netfilter, chainsOf(family).forward);
  if (!chain) return false;
  return chain.base?.policy === "drop" || listRules(ns.netfilter, chain).some(dropsAll);
}

/** Whether a rule ends every packet that gets to it. */
function dropsAll({ expressions }: Rule): boolean {
  const last = expressions.at(-1);
  if (!last || !expressions.slice(0, -1).every(isIdle)) return false;
  if (last.name === "immediate" && "verdict" in last) return last.verdict?.code === "drop";
  return last.name === "reject" || ["REJECT", "DROP"].includes(moduleOf(last) ?? "");
}

/** Steps that let every packet go on. */
function isIdle(expression: Expression): boolean {
  return expression.name === "counter" || moduleOf(expression) === "comment";
}

/** Whether a rule sends every packet to the chain. */
function leadsTo({ expressions }: Rule, chain: Chain): boolean {
  const last = expressions.at(-1);
  return (
    last?.name === "immediate" &&
    "verdict" in last &&
    last.verdict?.chain === chain.name &&
    expressions.slice(0, -1).every(isIdle)
  );
}

/** Both rules of an address. */
function rulesOf(chain: Chain, address: string): Rule[] {
  const ip = parseIp(address)!;
  const network = { ip, prefix: ip.length * 8 };
  const matched: Phrase = { expressions: [matchEstablished()] };
  // A table of one family: nothing is to be said of the version of IP.
  const plain = (...phrases: Phrase[]) => phrases.flatMap(({ expressions }) => expressions);
  return [
    { chain, expressions: plain(toNetwork(network), matched, count, accept) },
    { chain, expressions: plain(fromNetwork(network), count, accept) },
  ];
}

/** "to ADDRESS" or "from ADDRESS" for rules of that kind, whoever wrote them; undefined for others. */
function acceptedBy({ expressions }: Rule): string | undefined {
  const [payload, cmp, ...rest] = expressions.filter((one) => one.name !== "counter");
  if (payload?.name !== "payload" || !("offset" in payload) || payload.base !== 1) return undefined;
  if (cmp?.name !== "cmp" || !("value" in cmp) || cmp.op !== 0) return undefined;
  if (cmp.value === undefined || cmp.value.length !== payload.length) return undefined;
  const last = rest.at(-1);
  if (last?.name !== "immediate" || !("verdict" in last) || last.verdict?.code !== "accept") return undefined;
  const { offset, length } = payload;
  const ends = length === 4 ? { to: 16, from: 12 } : length === 16 ? { to: 24, from: 8 } : undefined;
  const modules = rest.slice(0, -1).map(moduleOf).join();
  if (offset === ends?.to && modules === "conntrack") return `to ${formatIp(cmp.value)}`;
  if (offset === ends?.from && modules === "") return `from ${formatIp(cmp.value)}`;
  return undefined;
}

const namesOf = (address: string) => [`to ${address}`, `from ${address}`];

/** Lets addresses through in iptables' FORWARD of their families, after what the administrator's chain says of them. */
export function acceptInIptables(ns: Namespace, addresses: readonly string[], admin: string): void {
  const connection = ns.netfilter;
  change(connection, () =>
    families.flatMap((family) => {
      const own = ofFamily(addresses, family);
      return own.length === 0 ? [] : acceptingIn(connection, family, own, admin);
    }),
  );
}

function acceptingIn(connection: Connection, family: Family, addresses: readonly string[], admin: string): Message[] {
  const chains = chainsOf(family, admin);
  const [forward, plugin, overrides] = find(connection, chains.forward, chains.plugin, chains.admin);
  const changes: Message[] = [];
  // Said again with its base, a chain that is there would get the policy of that.
  if (!forward) changes.push(addTable(chains.table), addChain(chains.forward));
  if (!plugin) changes.push(addChain(chains.plugin));
  if (!overrides) changes.push(addChain(chains.admin));
  const lead = (chain: Chain, comment: string, to: Chain) => {
    const expressions = [matchComment(comment), ...count.expressions, ...jump(to).expressions];
    changes.push(insertRule({ chain, expressions }));
  };
  const rules = plugin ? listRules(connection, chains.plugin) : [];
  const there = forward ? listRules(connection, chains.forward) : [];
  if (!there.some((rule) => leadsTo(rule, chains.plugin))) lead(chains.forward, comments.rules, chains.plugin);
  if (!rules.some((rule) => leadsTo(rule, chains.admin))) lead(chains.plugin, comments.admin, chains.admin);
  const accepted = new Set(rules.map(acceptedBy));
  for (const address of addresses) {
    const wanted = rulesOf(chains.plugin, address);
    changes.push(...wanted.filter((_, at) => !accepted.has(namesOf(address)[at])).map(appendRule));
  }
  return changes;
}

/** Takes the rules of addresses away. No chain, no rules: nothing to do. */
export function removeFromIptables(ns: Namespace, addresses: readonly string[]): void {
  change(ns.netfilter, () => removalsFromIptables(ns.netfilter, addresses));
}

/** The same as changes of a transaction. */
export function removalsFromIptables(connection: Connection, addresses: readonly string[]): Message[] {
  const removals: Message[] = [];
  for (const family of families) {
    const own = ofFamily(addresses, family);
    const [chain] = own.length > 0 ? find(connection, chainsOf(family).plugin) : [];
    if (!chain) continue;
    const gone = own.flatMap(namesOf);
    const rules = listRules(connection, chain).filter((rule) => gone.includes(acceptedBy(rule) ?? ""));
    removals.push(...rules.map(deleteRule));
  }
  return removals;
}

/** Throws, with code 101, unless each address has its rules and FORWARD leads to them. */
export function checkInIptables(ns: Namespace, addresses: readonly string[]): void {
  const connection = ns.netfilter;
  const missing = (what: string, family: Family) =>
    new CniError(codes.checkFailed, `Cannot find ${what} in the filter of ${family === 4 ? "iptables" : "ip6tables"}`);
  for (const family of families) {
    const own = ofFamily(addresses, family);
    if (own.length === 0) continue;
    const { forward, plugin } = chainsOf(family);
    if (!listRules(connection, forward).some((rule) => leadsTo(rule, plugin))) {
      throw missing(`the way from FORWARD to ${plugin.name}`, family);
    }
    const accepted = new Set(listRules(connection, plugin).map(acceptedBy));
    for (const address of own) {
      if (!namesOf(address).every((name) => accepted.has(name))) throw missing(`the rules of ${address}`, family);
    }
  }
}

/** Whether the reference keeps bridges apart on this host. */
export function hasReferenceGuard(ns: Namespace): boolean {
  return find(ns.netfilter, chainsOf(4).isolation)[0] !== undefined;
}
