// Masquerade: what pods send to the outside leaves with their node's address. One rule per network, subnet and family,
// in the chain `postrouting` of table inet tenon (lib/nftables/layout.ts):
//
//   ip saddr @masq/NETWORK/SUBNET  ip daddr != @exempt/NETWORK/SUBNET/FINGERPRINT  masquerade
//
// A pod is one element of the first set, its label the comment. The second holds what must see pods' own addresses: the
// subnet itself, multicast, and the network's exempt networks. The fingerprint tells these apart, so that an ADD with
// other exemptions finds its set missing and puts its own in place; the rule is replaced in the same transaction.
// DEL takes elements alone: sets and rules stay for the next pod (making the first costs the kernel 24 ms). GC removes
// those of a network without pods, and with the last of them the table; so does the first pod of another network.
import { CniError, codes } from "../cni/errors.ts";
import { isOfNetwork } from "../cni/identity.ts";
import type { Part } from "../cni/request.ts";
import { type Cidr, equalBytes, formatCidr, formatIp, networkOf, parseCidr } from "../netlink/inet.ts";
import type { Connection, Message } from "../netlink/socket.ts";
import type { Namespace } from "../netns/netns.ts";
import {
  type Contents,
  deleteWhere,
  elementOf,
  ensureElements,
  listElements,
  listSets,
  type NamedSet,
  placesOf,
  removeOwn,
} from "../nftables/attachment.ts";
import { addChain, dumpChains, readChain } from "../nftables/chain.ts";
import { createElements, deleteElements, type Element, getElement } from "../nftables/element.ts";
import { sameExpressions } from "../nftables/expression.ts";
import { intervalsOf } from "../nftables/interval.ts";
import { inet, postrouting } from "../nftables/layout.ts";
import { hash, pathOf } from "../nftables/name.ts";
import { daddr, inSet, masquerade, notInSet, saddr, say } from "../nftables/phrase.ts";
import { deleteRule, listRules, placeRule, type Rule } from "../nftables/rule.ts";
import { addSet, deleteSet, type SetSpec } from "../nftables/set.ts";
import { addTable, deleteTable } from "../nftables/table.ts";
import { filtered, mapped, unique } from "../sys/list.ts";

/** One attachment's part in the masquerade of its network. */
export interface Masquerade {
  network: string;
  /** The attachment, by labelOf. */
  label: string;
  /** The pod's addresses, each with the length of its subnet's prefix. */
  addresses: readonly string[];
  /** Networks that see the pod's own address. */
  exempt: readonly string[];
}

/** What one address needs: an element `key` of `set`, and the rule that masquerades these but for `exempt`. */
interface Wanted {
  key: Uint8Array;
  set: SetSpec;
  exempt: SetSpec;
  place: string;
  /** What `exempt` holds. Like the rule built when looked at: an ADD that finds everything in place needs neither. */
  networks(): Cidr[];
  rule(): Rule;
}

const multicast = { 4: "224.0.0.0/4", 6: "ff00::/8" };

function cidr(text: string): Cidr {
  const cidr = parseCidr(text);
  if (!cidr) throw new TypeError(`Cannot masquerade "${text}": not an address with the length of a prefix`);
  return cidr;
}

/** An address whose prefix is itself has no subnet. */
function isAlone({ ip, prefix }: Cidr): boolean {
  return prefix === ip.length * 8;
}

/** "NETWORK/SUBNET", in characters that nft(8) takes in names. Addresses without a subnet share one place. */
function placeOf(network: string, address: Cidr): string {
  if (isAlone(address)) return `${pathOf(network)}/hosts${address.ip.length === 4 ? 4 : 6}`;
  return `${pathOf(network)}/${formatIp(networkOf(address)).replaceAll(":", "_")}/${address.prefix}`;
}

/** The place of an address and the set of pods' addresses there. */
function membersOf(network: string, address: Cidr): { place: string; set: SetSpec } {
  const place = placeOf(network, address);
  const key = address.ip.length === 4 ? "ipv4_addr" : "ipv6_addr";
  return { place, set: { table: inet, name: `masq/${place}`, key: [key] } };
}

/** The pure description of everything that an attachment wants: ensure makes it, check compares with it. */
function wanted({ network, addresses, exempt }: Masquerade): Wanted[] {
  return mapped(unique(addresses), (text) => {
    const address = cidr(text);
    const family = address.ip.length === 4 ? 4 : 6;
    const { place, set } = membersOf(network, address);
    const spared = filtered(mapped(exempt, cidr), ({ ip }) => ip.length === address.ip.length);
    const fingerprint = hash(mapped(spared, formatCidr).sort().join());
    const exemption: SetSpec = { ...set, name: `exempt/${place}/${fingerprint}`, intervals: true };
    return {
      key: address.ip,
      set,
      exempt: exemption,
      networks: () => [...(isAlone(address) ? [] : [address]), parseCidr(multicast[family])!, ...spared],
      place,
      rule: () => ({
        chain: postrouting,
        expressions: say(inSet(saddr[family], set), notInSet(daddr[family], exemption), masquerade),
        comment: place,
      }),
    };
  });
}

/**
 * Masquerades an attachment's addresses. Done already is fine; an element left by another attachment is taken over. With
 * `whole`, sets and rules are looked at too, which otherwise are there where their elements are.
 */
export function ensureMasquerade(ns: Namespace, masquerade: Masquerade, whole?: boolean): void {
  const all = wanted(masquerade);
  const required = mapped(all, ({ exempt }) => exempt);
  ensureElements(ns.netfilter, masquerade.label, all, required, () => prepare(ns.netfilter, all, whole), whole);
}

/** The masquerade of an attachment as a part of it. */
export function masqueradePart(ns: Namespace, masquerade: Masquerade): Part {
  return {
    kind: "masquerade",
    name: masquerade.label,
    check: () => checkMasquerade(ns, masquerade),
    ensure: (whole) => ensureMasquerade(ns, masquerade, whole),
  };
}

/**
 * Whatever is missing of what must be there before the elements. What networks without pods left goes at this occasion:
 * a runtime that never calls GC would let it pile up as networks come and go.
 */
function prepare(connection: Connection, all: readonly Wanted[], whole?: boolean): Message[] {
  const there = listSets(connection, inet);
  const sets = there.map(({ name }) => name);
  const rules = listRules(connection, postrouting);
  const idle = there.filter(
    (set) =>
      set.name.startsWith("masq/") &&
      all.every((wanted) => wanted.set.name !== set.name) &&
      listElements(connection, set).length === 0,
  );
  const changes = [addTable(inet), addChain(postrouting)];
  const done = new Set<string>();
  for (const { set, exempt, networks, place, rule } of all) {
    if (done.has(set.name)) continue;
    done.add(set.name);
    if (!sets.includes(set.name)) changes.push(addSet(set));
    if (!sets.includes(exempt.name)) changes.push(addSet(exempt), createElements(exempt, intervalsOf(networks())));
    else if (whole) changes.push(...refill(connection, exempt, intervalsOf(networks())));
    changes.push(...placeRule(rule(), rules));
    const others = sets.filter((name) => name.startsWith(`exempt/${place}/`) && name !== exempt.name);
    changes.push(...others.map((name) => deleteSet({ table: inet, name })));
  }
  const gone = partsOf(idle, there, rules);
  return [...changes, ...gone.rules.map(deleteRule), ...gone.sets.map(deleteSet)];
}

/** The changes after which a set has exactly these elements. */
function refill(connection: Connection, set: NamedSet, wanted: readonly Element[]): Message[] {
  const there = listElements(connection, set);
  if (there.length === wanted.length && wanted.every((one) => there.some((other) => isSame(one, other)))) return [];
  return [...(there.length > 0 ? [deleteElements(set, there)] : []), createElements(set, wanted)];
}

const isSame = (one: Element, other: Element) => equalBytes(one.key, other.key) && one.end === other.end;

/**
 * Ends the masquerade of an attachment: of these addresses, or where it has none there, unless told not to `search`, of all
 * that bear its label. What belongs to another attachment by now stays. Makes nothing.
 */
export function removeMasquerade(
  ns: Namespace,
  {
    network,
    label,
    addresses,
    search = true,
  }: { network: string; label: string; addresses?: readonly string[]; search?: boolean },
): void {
  const connection = ns.netfilter;
  const named = mapped(mapped(unique(addresses ?? []), cidr), (address) => ({
    set: membersOf(network, address).set,
    key: address.ip,
  }));
  // A later plugin of the list may have put other addresses into the result: then its own are searched for.
  if (removeOwn(connection, label, named) === 0 && search)
    removeOwn(connection, label, placesOf(listMembers(connection, network), label));
}

function listMembers(connection: Connection, network: string): Contents[] {
  const sets = listSets(connection, inet).filter(({ name }) => name.startsWith(`masq/${pathOf(network)}/`));
  return sets.map((set) => ({ set, elements: listElements(connection, set) }));
}

/** Throws, with code 101, unless the attachment is masqueraded as ensureMasquerade would do it. */
export function checkMasquerade(ns: Namespace, masquerade: Masquerade): void {
  const connection = ns.netfilter;
  const rules = listRules(connection, postrouting);
  for (const { key, set, exempt, networks, place, rule } of wanted(masquerade)) {
    const missing = (what: string) =>
      new CniError(codes.checkFailed, `Cannot find ${what} of ${place} in nftables table inet tenon`);
    const element = elementOf(connection.try(getElement(set, key))[0]!);
    if (element?.comment !== masquerade.label) throw missing(`masquerade element ${formatIp(key)}`);
    const there = listElements(connection, exempt);
    if (!intervalsOf(networks()).every((one) => there.some((other) => isSame(one, other))))
      throw missing("the masquerade exemptions");
    if (!rules.some((have) => sameExpressions(rule().expressions, have.expressions)))
      throw missing("the masquerade rule");
  }
}

/** GC: ends the masquerade of every attachment to this network that is not to be kept. */
export function sweepMasquerade(
  ns: Namespace,
  { network, keep }: { network: string; keep: ReadonlySet<string> },
): void {
  const connection = ns.netfilter;
  deleteWhere(
    connection,
    () => listMembers(connection, network),
    (comment) => isOfNetwork(comment, network) && !keep.has(comment),
    (empty) => clear(connection, empty),
  );
}

/** Takes away member sets that are empty, with their rules and exemptions; the table too if nothing else is in it. */
function clear(connection: Connection, empty: readonly NamedSet[]): Message[] {
  const sets = listSets(connection, inet);
  const rules = listRules(connection, postrouting);
  const gone = partsOf(empty, sets, rules);
  const chains = connection.dump(dumpChains(inet)).map(readChain);
  const others = chains.filter(({ table, name }) => table.name === inet.name && name !== postrouting.name);
  if (gone.sets.length === sets.length && gone.rules.length === rules.length && others.length === 0)
    return [deleteTable(inet)];
  return [...gone.rules.map(deleteRule), ...gone.sets.map(deleteSet)];
}

/** The sets and rules of the places whose sets of members are named. */
function partsOf<S extends NamedSet, R extends { comment?: string }>(
  members: readonly NamedSet[],
  sets: readonly S[],
  rules: readonly R[],
): { sets: S[]; rules: R[] } {
  const places = members.map(({ name }) => name.slice("masq/".length));
  const isOfPlace = (name: string) =>
    places.some((place) => name === `masq/${place}` || name.startsWith(`exempt/${place}/`));
  return {
    sets: sets.filter(({ name }) => isOfPlace(name)),
    rules: rules.filter(({ comment = "" }) => places.includes(comment)),
  };
}
