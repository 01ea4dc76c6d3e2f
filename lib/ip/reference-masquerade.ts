// Masquerade that the Go plugins bridge and ptp made before these took their place: found by its names, checked and taken
// away over netlink. Nothing here is ever made.
//
//   ipMasqBackend iptables, for each family (table nat):
//     -A POSTROUTING -s 10.1.0.2/32 -m comment --comment 'name: "net" id: "c1"' -j CNI-a4f1c0cea3480fe949fc94f8
//     -A CNI-a4f1c0cea3480fe949fc94f8 -d 10.1.0.0/16 ... -j ACCEPT
//     -A CNI-a4f1c0cea3480fe949fc94f8 ! -d 224.0.0.0/4 ... -j MASQUERADE
//   ipMasqBackend nftables: table inet cni_plugins_masquerade, chain masq_checks:
//     ip saddr 10.1.0.2 ip daddr != 10.1.0.0/16 masquerade comment "a4861f4ae9f7d238-0b65a318f52e521b, net: net, ..."
import type { Attachment } from "../cni/request.ts";
import { formatIp, parseCidr } from "../netlink/inet.ts";
import type { Connection, Message } from "../netlink/socket.ts";
import type { Namespace } from "../netns/netns.ts";
import { type Chain, deleteChain, getChain } from "../nftables/chain.ts";
import { type Facts, factsOf } from "../nftables/facts.ts";
import { deleteRule, listRules, type Rule } from "../nftables/rule.ts";
import { getTable, type Table } from "../nftables/table.ts";
import { change } from "../nftables/transaction.ts";
import { hasLegacyTable, type LegacyRule, legacyRules, removeLegacyRules } from "./legacy-table.ts";
import { containerOf, masqueradeChain, masqueradeName, networkName, type Owner } from "./reference-names.ts";

type Known = Rule & { handle: bigint };

/** The tables of iptables; those of iptables-legacy, which are none of nftables', have the same names. */
export const nat = [
  { family: "ip", name: "nat" },
  { family: "ip6", name: "nat" },
] as const;
const native: Table = { family: "inet", name: "cni_plugins_masquerade" };
const checks: Chain = { table: native, name: "masq_checks" };

/** The addresses without the length of their prefix, as rules say them. */
export function plainOf(addresses: readonly string[]): string[] {
  const ips = addresses.map((address) => parseCidr(address.includes("/") ? address : `${address}/0`)?.ip);
  return ips.filter((ip) => ip !== undefined).map(formatIp);
}

/**
 * The changes that take a chain away with the rules of `entry` that lead to it. While others than `isOwn` lead there it
 * stays for them: it is another interface's of the container.
 */
export function removalsOf(chain: Chain, entry: readonly Known[], isOwn: (facts: Facts) => boolean): Message[] {
  const leads = entry.filter((rule) => factsOf(rule).chain === chain.name);
  const own = leads.filter((rule) => isOwn(factsOf(rule)));
  return [...own.map(deleteRule), ...(own.length === leads.length ? [deleteChain(chain)] : [])];
}

/** The same of rules of iptables-legacy. */
export function legacyRemovalsOf(
  name: string,
  rules: readonly LegacyRule[],
  isOwn: (facts: Facts) => boolean,
): LegacyRule[] {
  const leads = rules.filter(({ facts }) => facts.chain === name);
  const own = leads.filter(({ facts }) => isOwn(facts));
  return own.length === leads.length ? [...own, ...rules.filter(({ from }) => from === name)] : own;
}

/**
 * Whether there may be anything of the reference: one of these objects of nftables, or a table nat of iptables-legacy. All
 * that DEL of what this suite made itself, or of what is gone already, ever pays for the reference.
 */
export function mayBeThere(ns: Namespace, looks: readonly Message[]): boolean {
  for (const { error } of ns.netfilter.try(...looks)) if (!error) return true;
  return hasLegacyTable(ns, "ip", "nat") || hasLegacyTable(ns, "ip6", "nat");
}

/** What a family's table nat says, in both kinds of iptables, rule by rule with the chain that it is in. */
export function natFacts(ns: Namespace, { family, name }: (typeof nat)[number]): (Facts & { from?: string })[] {
  return [
    ...listRules(ns.netfilter, { table: { family, name } }).map((rule) => ({
      from: rule.chain.name,
      ...factsOf(rule),
    })),
    ...legacyRules(ns, family, name).map(({ from, facts }) => ({ from, ...facts })),
  ];
}

/**
 * Takes away what masquerades an attachment. With addresses only theirs in iptables, where a container's interfaces share
 * a chain. One look where there is nothing.
 */
export function removeReferenceMasquerade(ns: Namespace, owner: Owner, addresses: readonly string[] = []): void {
  const connection = ns.netfilter;
  const name = masqueradeChain(owner);
  const chains: Chain[] = [
    { table: nat[0], name },
    { table: nat[1], name },
  ];
  const looks = [getChain(chains[0]!), getChain(chains[1]!), getTable(native)];
  if (!mayBeThere(ns, looks)) return;
  const ips = plainOf(addresses);
  const isOwn = ({ source }: Facts) => ips.length === 0 || !source || ips.includes(source);
  change(
    connection,
    (replies) => {
      const changes: Message[] = [];
      chains.forEach((chain, at) => {
        if (replies[at]!.error) return;
        const entry = listRules(connection, { table: chain.table, name: "POSTROUTING" });
        changes.push(...removalsOf(chain, entry, isOwn));
      });
      if (!replies[chains.length]!.error) changes.push(...nativeOf(connection, masqueradeName(owner)).map(deleteRule));
      return changes;
    },
    looks,
  );
  for (const { family } of nat) removeLegacyRules(ns, family, "nat", (rules) => legacyRemovalsOf(name, rules, isOwn));
}

/** The rules of nftables whose comments begin so. */
function nativeOf(connection: Connection, name: string): Known[] {
  return listRules(connection, checks).filter(({ comment }) => comment?.startsWith(name));
}

/** Whether each address is masqueraded as the reference does it. */
export function hasReferenceMasquerade(ns: Namespace, owner: Owner, addresses: readonly string[]): boolean {
  const connection = ns.netfilter;
  const name = masqueradeChain(owner);
  const inIptables = nat.map((table) => natFacts(ns, table));
  const entered = listRules(connection, { table: native, name: "postrouting" }).some(
    (rule) => factsOf(rule).chain === checks.name,
  );
  const own = entered ? nativeOf(connection, masqueradeName(owner)).map(factsOf) : [];
  return plainOf(addresses).every(
    (ip) =>
      own.some(({ source, masquerades }) => source === ip && masquerades) ||
      inIptables.some(
        (rules) =>
          rules.some(({ source, chain }) => source === ip && chain === name) &&
          rules.some(({ from, masquerades }) => from === name && masquerades),
      ),
  );
}

/** GC: takes away the masquerade of the network's attachments that are not among these. */
export function sweepReferenceMasquerade(ns: Namespace, network: string, valid: readonly Attachment[]): void {
  const connection = ns.netfilter;
  const keep = new Set(valid.map((one) => masqueradeName({ network, ...one })));
  change(connection, () => [
    ...nat.flatMap((table) => staleChains(connection, table, network, valid, masqueradeChain)),
    ...nativeOf(connection, networkName(network))
      .filter(({ comment }) => !keep.has(comment!.slice(0, 33)))
      .map(deleteRule),
  ]);
  sweepLegacy(ns, network, valid, masqueradeChain);
}

type NameOf = (owner: Omit<Owner, "ifname">) => string;

/** The changes that take chains of the network's containers away that are not among these, with all that leads to them. */
export function staleChains(
  connection: Connection,
  table: Table,
  network: string,
  valid: readonly Attachment[],
  nameOf: NameOf,
): Message[] {
  const rules = listRules(connection, { table });
  const facts = rules.map((rule) => ({ from: rule.chain.name, ...factsOf(rule) }));
  const stale = staleNames(facts, network, valid, nameOf);
  return stale.flatMap((name) => removalsOf({ table, name }, rules, () => true));
}

/** The same in the tables of iptables-legacy. */
export function sweepLegacy(ns: Namespace, network: string, valid: readonly Attachment[], nameOf: NameOf): void {
  for (const { family, name } of nat) {
    removeLegacyRules(ns, family, name, (rules) => {
      const facts = rules.map(({ from, facts }) => ({ from, ...facts }));
      const stale = staleNames(facts, network, valid, nameOf);
      return stale.flatMap((name) => legacyRemovalsOf(name, rules, () => true));
    });
  }
}

function staleNames(
  rules: readonly (Facts & { from?: string })[],
  network: string,
  valid: readonly Attachment[],
  nameOf: NameOf,
): string[] {
  const living = new Set(valid.map(({ containerId }) => containerId));
  const stale = new Set<string>();
  for (const { comment, chain, from } of rules) {
    const containerId = comment && containerOf(comment, network);
    if (!containerId || living.has(containerId)) continue;
    // The comment is in the chain itself, or in the rule that leads there: the hash says which.
    const name = nameOf({ network, containerId });
    if (name === chain || name === from) stale.add(name);
  }
  return [...stale];
}
