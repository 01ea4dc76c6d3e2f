// Forward filter: what the plugin firewall says of packets that the host forwards, in the chain `forward` of table inet tenon
// (lib/nftables/layout.ts):
//
//   iifname @firewall/bridges  oifname @firewall/bridges  iifname . oifname != @firewall/loops  counter drop
//   ip daddr @firewall/pods4  ct state established,related  accept
//   ip saddr @firewall/pods4  accept
//   ip6 daddr @firewall/pods6  ct state established,related  accept
//   ip6 saddr @firewall/pods6  accept
//
// A pod's address is one element, its label the comment. Bridges are bridge-guard's: those kept apart, and "bridge . bridge"
// for those whose pods may reach each other. All sets and rules come in one transaction and go with the last pod in GC.
import { CniError, codes } from "../cni/errors.ts";
import { isOfNetwork } from "../cni/identity.ts";
import { formatIp, parseCidr } from "../netlink/inet.ts";
import type { Connection, Message, Reply } from "../netlink/socket.ts";
import type { Namespace } from "../netns/netns.ts";
import {
  type Contents,
  deleteWhere,
  elementOf,
  ensureElements,
  listElements,
  listSets,
  type Place,
  placesOf,
} from "../nftables/attachment.ts";
import { addChain, deleteChain, dumpChains, readChain } from "../nftables/chain.ts";
import { deleteElements, getElements } from "../nftables/element.ts";
import { sameExpressions } from "../nftables/expression.ts";
import { forward, inet } from "../nftables/layout.ts";
import {
  accept,
  count,
  daddr,
  drop,
  established,
  iifname,
  inSet,
  notInSet,
  oifname,
  saddr,
  say,
} from "../nftables/phrase.ts";
import { appendRule, deleteRule, listRules, type Rule } from "../nftables/rule.ts";
import { addSet, deleteSet, type SetSpec } from "../nftables/set.ts";
import { addTable, deleteTable } from "../nftables/table.ts";
import { change } from "../nftables/transaction.ts";
import { filtered, mapped, unique } from "../sys/list.ts";

/** One attachment's addresses, with or without the length of a prefix. */
export interface Accepted {
  /** The attachment, by labelOf. */
  label: string;
  addresses: readonly string[];
}

const pods: { 4: SetSpec; 6: SetSpec } = {
  4: { table: inet, name: "firewall/pods4", key: ["ipv4_addr"] },
  6: { table: inet, name: "firewall/pods6", key: ["ipv6_addr"] },
};
export const bridges: SetSpec = { table: inet, name: "firewall/bridges", key: ["ifname"] };
export const loops: SetSpec = { table: inet, name: "firewall/loops", key: ["ifname", "ifname"] };
/** Who wants a bridge kept apart: no rule looks here. */
export const guards: SetSpec = { table: inet, name: "firewall/guards", key: ["ifname", "ifname"] };
const sets = [pods[4], pods[6], bridges, loops, guards];

function wantedRules(): Rule[] {
  const rule = (comment: string, ...phrases: Parameters<typeof say>): Rule => ({
    chain: forward,
    expressions: say(...phrases),
    comment,
  });
  return [
    rule(
      "firewall bridges",
      inSet(iifname, bridges),
      inSet(oifname, bridges),
      notInSet([iifname, oifname], loops),
      count,
      drop,
    ),
    rule("firewall to pods4", inSet(daddr[4], pods[4]), established, accept),
    rule("firewall from pods4", inSet(saddr[4], pods[4]), accept),
    rule("firewall to pods6", inSet(daddr[6], pods[6]), established, accept),
    rule("firewall from pods6", inSet(saddr[6], pods[6]), accept),
  ];
}

/** The places of rules of ours that are there, and whether these are all and in order: a drop after an accept is none. */
function compare(connection: Connection) {
  const wanted = wantedRules();
  const own = listRules(connection, forward).filter(({ comment }) => comment?.startsWith("firewall "));
  const same =
    own.length === wanted.length &&
    wanted.every(({ expressions }, at) => sameExpressions(expressions, own[at]!.expressions));
  return { wanted, own, same };
}

/** Whatever is missing of what must be there before any element. */
export function prepareFilter(connection: Connection): Message[] {
  const { wanted, own, same } = compare(connection);
  const rules = same ? [] : [...own.map(deleteRule), ...wanted.map(appendRule)];
  return [addTable(inet), addChain(forward), ...sets.map(addSet), ...rules];
}

function placeOf(address: string): Place {
  const cidr = parseCidr(address.includes("/") ? address : `${address}/${address.includes(":") ? 128 : 32}`);
  if (!cidr) throw new TypeError(`Cannot let "${address}" through: not an address`);
  return { set: pods[cidr.ip.length === 4 ? 4 : 6], key: cidr.ip };
}

function contents(connection: Connection): Contents[] {
  return [pods[4], pods[6]].map((set) => ({ set, elements: listElements(connection, set) }));
}

/**
 * Lets an attachment's addresses through. Done already is fine; what another attachment left is taken over. With `whole`,
 * the rules are looked at too.
 */
export function ensureAccepted(ns: Namespace, { label, addresses }: Accepted, whole?: boolean): void {
  const places = mapped(unique(addresses), placeOf);
  if (places.length === 0) return;
  // Sets and rules come and go together: where one is, all are.
  ensureElements(ns.netfilter, label, places, [places[0]!.set], () => prepareFilter(ns.netfilter), whole);
}

/**
 * The addresses that an attachment has here. With `hints` looks at these alone, and those that nobody has count as its own:
 * another suite may have let them through in its way.
 */
export function acceptedOf(ns: Namespace, label: string, hints?: readonly string[]): string[] {
  const connection = ns.netfilter;
  if (!hints) return placesOf(contents(connection), label).map(({ key }) => formatIp(key));
  const places = mapped(unique(hints), placeOf);
  const replies = connection.try(...getElements(places));
  const own = filtered(places, (_, at) => (elementOf(replies[at]!)?.comment ?? label) === label);
  return mapped(own, ({ key }) => formatIp(key));
}

/**
 * Takes an attachment's addresses away. What belongs to another attachment by now stays. Makes nothing. What `more` returns
 * is done in the same transaction.
 */
export function removeAccepted(
  ns: Namespace,
  { label, addresses }: Accepted,
  more: (connection: Connection) => Message[] = () => [],
): void {
  const connection = ns.netfilter;
  const places = mapped(addresses, placeOf);
  const plan = (replies: Reply[]) => {
    const own = filtered(places, (_, at) => elementOf(replies[at]!)?.comment === label);
    return [...more(connection), ...mapped(own, (place) => deleteElements(place.set, [place]))];
  };
  change(connection, plan, getElements(places));
}

/** Whether elements bear the label, all of them: "none" is what another suite made. Throws, code 101, if only some do. */
export function checkAccepted(ns: Namespace, { label, addresses }: Accepted): "all" | "none" {
  const connection = ns.netfilter;
  const places = addresses.map(placeOf);
  const replies = connection.try(...getElements(places));
  const missing = places.filter((_, at) => elementOf(replies[at]!)?.comment !== label);
  if (places.length === 0) return "all";
  if (missing.length === places.length) return "none";
  if (missing.length > 0) throw notFound(`accepted address ${formatIp(missing[0]!.key)}`);
  if (!compare(connection).same) throw notFound("the rules of the firewall, in their order,");
  return "all";
}

export function notFound(what: string): CniError {
  return new CniError(codes.checkFailed, `Cannot find ${what} in nftables table inet tenon`);
}

/** GC, first part: the addresses in this network of attachments that are not to be kept, and whether others are left. */
export function staleOf(ns: Namespace, network: string, keep: ReadonlySet<string>) {
  const all = contents(ns.netfilter)
    .flatMap(({ elements }) => elements)
    .filter(({ comment = "" }) => isOfNetwork(comment, network));
  const stale = all.filter(({ comment = "" }) => !keep.has(comment));
  return { addresses: stale.map(({ key }) => formatIp(key)), living: all.length > stale.length };
}

/** GC, second part: takes them away. */
export function sweepAccepted(ns: Namespace, network: string, keep: ReadonlySet<string>): void {
  deleteWhere(
    ns.netfilter,
    () => contents(ns.netfilter),
    (comment) => isOfNetwork(comment, network) && !keep.has(comment),
    () => [],
  );
}

/** GC, last: without pods and guarded bridges the chain and the sets go; the table too if nothing else is in it. */
export function clearFilter(ns: Namespace): void {
  const connection = ns.netfilter;
  change(connection, () => {
    const there = listSets(connection, inet).map(({ name }) => name);
    const chains = connection
      .dump(dumpChains(inet))
      .map(readChain)
      .filter(({ table }) => table.name === inet.name);
    const mine = sets.filter(({ name }) => there.includes(name));
    const isMade = chains.some(({ name }) => name === forward.name);
    if (!isMade && mine.length === 0) return [];
    if (mine.some((set) => listElements(connection, set).length > 0)) return [];
    const foreign = listRules(connection, forward).some(({ comment }) => !comment?.startsWith("firewall "));
    if (foreign) return [];
    const others = chains.filter(({ name }) => name !== forward.name);
    const empty = there.length === mine.length && others.every((chain) => listRules(connection, chain).length === 0);
    if (empty) return [deleteTable(inet)];
    return [...(isMade ? [deleteChain(forward)] : []), ...mine.map(deleteSet)];
  });
}
