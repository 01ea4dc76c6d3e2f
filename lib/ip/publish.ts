// Publishes ports of pods: makes what port-mapping.ts describes, compares with it, and takes it away by label.
import { CniError, codes } from "../cni/errors.ts";
import { isOfNetwork } from "../cni/identity.ts";
import { equalBytes } from "../netlink/inet.ts";
import { findPath } from "../netlink/rtnl/path.ts";
import { readRoutes } from "../netlink/rtnl/route.ts";
import type { Connection, Message, Reply } from "../netlink/socket.ts";
import type { Namespace } from "../netns/netns.ts";
import {
  type Contents,
  deleteAll,
  deleteWhere,
  elementOf,
  ensureElements,
  listElements,
  listSets,
  type NamedSet,
  type Place,
} from "../nftables/attachment.ts";
import { addChain, deleteChain, dumpChains, readChain } from "../nftables/chain.ts";
import { getElement, getElements } from "../nftables/element.ts";
import { sameExpressions } from "../nftables/expression.ts";
import { inet, postrouting } from "../nftables/layout.ts";
import { getGeneration } from "../nftables/message.ts";
import { appendRule, deleteRule, insertRule, listRules, placeRule, type Rule } from "../nftables/rule.ts";
import { addSet, deleteSet } from "../nftables/set.ts";
import { addTable, deleteTable } from "../nftables/table.ts";
import { change } from "../nftables/transaction.ts";
import { filtered, mapped } from "../sys/list.ts";
import { findLink } from "./link.ts";
import {
  attachments,
  countData,
  fixed,
  isMap,
  nameKey,
  own,
  type ProtocolWay,
  type Published,
  type Wanted,
  wanted,
  wayOf,
} from "./port-mapping.ts";
import { readSysctl, writeSysctls } from "./sysctl.ts";

/**
 * Publishes an attachment's ports: returns the ways that are led. A port that another attachment holds is an error, which
 * names it. What this attachment published before and does not want now ends, unless `whole` is said: then what is missing
 * is added, if true after a look at the rules too.
 */
export function publishPorts(ns: Namespace, ports: Published, whole?: boolean): ProtocolWay[] {
  const connection = ns.netfilter;
  const { label, name } = ports;
  const want = wanted(ports);
  if (want.places.length === 0) return [];
  const places = [...want.places, { set: attachments, key: nameKey(name), data: countData(want.places.length) }];
  if (whole === undefined && elementOf(connection.try(getElement(attachments, nameKey(name)))[0]!))
    withdrawPorts(ns, { label, name });
  ensureElements(connection, label, places, [attachments, ...want.sets], () => prepare(connection, want), whole);
  if (ports.hide !== "none") {
    for (const address of ports.addresses) if (!address.includes(":")) routeLoopback(ns, address.split("/")[0]!);
  }
  return waysOf(want.places);
}

/** Whatever is missing of what must be there before the elements. */
function prepare(connection: Connection, want: Wanted): Message[] {
  const base = fixed();
  const changes = [addTable(inet), addChain(postrouting), ...own.map(addChain)];
  const known = listSets(connection, inet).map(({ name }) => name);
  for (const set of [...base.sets, ...want.sets]) {
    if (known.includes(set.name)) continue;
    known.push(set.name);
    changes.push(addSet(set));
  }
  for (const chain of [postrouting, ...own]) {
    const there = listRules(connection, chain);
    const mine = base.rules.filter((rule) => rule.chain === chain);
    const same = (rule: Rule) => there.filter(({ comment }) => comment === rule.comment);
    const found = there.filter(({ comment }) => mine.some((rule) => rule.comment === comment));
    const inOrder =
      found.length === mine.length &&
      mine.every((rule, at) => sameExpressions(rule.expressions, found[at]!.expressions));
    if (!inOrder) changes.push(...found.map(deleteRule), ...mine.map(appendRule));
    for (const { rule, front } of want.rules()) {
      if (rule.chain !== chain || mine.some(({ comment }) => comment === rule.comment)) continue;
      if (front && same(rule).length === 0) changes.push(insertRule(rule));
      else changes.push(...placeRule(rule, there));
    }
  }
  return changes;
}

/** Lets packets of 127.0.0.0/8 leave by the link that leads to the pod, as answers must come in by it. */
function routeLoopback(ns: Namespace, address: string): void {
  const [answer] = ns.route.try(findPath({ to: address }))[0]!.answers;
  const index = answer && readRoutes(answer)[0]?.link; // none: no other packet gets there either
  const link = index === undefined ? undefined : findLink(ns, index);
  if (!link?.name) return;
  const setting = `ipv4/conf/${link.name}/route_localnet`;
  if (readSysctl(ns, setting) !== "1") writeSysctls(ns, { [setting]: "1" });
}

/**
 * Ends what an attachment published, and returns the ways that were led. What it published need not be said; if it is,
 * nothing has to be searched for. What belongs to another attachment stays. Makes nothing.
 */
export function withdrawPorts(
  ns: Namespace,
  { label, name, ports }: Pick<Published, "label" | "name"> & { ports?: Published },
): ProtocolWay[] {
  const connection = ns.netfilter;
  const places = soundPlaces(ports);
  let ended: Contents[] = [];
  change(
    connection,
    (replies) => {
      ended = [];
      const holder = elementOf(replies[0]!);
      if (holder?.comment !== label) return [];
      ended = findOwn(places, replies.slice(1), label);
      let count = 0;
      for (const { elements } of ended) count += elements.length;
      if (!holder.data || !equalBytes(holder.data, countData(count))) ended = listOwn(connection, label);
      return [...ended.flatMap(({ set, elements }) => deleteAll(set, elements)), ...deleteAll(attachments, [holder])];
    },
    [getElement(attachments, nameKey(name)), ...getElements(places)],
  );
  return ended.flatMap(({ set, elements }) => (isMap(set) ? elements.map(wayOf) : []));
}

/** None of what nobody can want: ADD refused it, or it was written after another one. Then the label is searched for. */
function soundPlaces(ports: Published | undefined): Place[] {
  try {
    return ports ? wanted(ports).places : [];
  } catch {
    return [];
  }
}

function waysOf(places: readonly Place[]): ProtocolWay[] {
  const mappings = filtered(places, ({ set }) => isMap(set));
  return mapped(mappings, wayOf);
}

/** The elements with the label among those at these places, set by set. */
function findOwn(places: readonly Place[], replies: readonly Reply[], label: string): Contents[] {
  const found = new Map<string, Contents>();
  for (let at = 0; at < places.length; at++) {
    const { set } = places[at]!;
    const element = elementOf(replies[at]!);
    if (element?.comment !== label) continue;
    const contents = found.get(set.name) ?? { set, elements: [] };
    contents.elements.push(element);
    found.set(set.name, contents);
  }
  return [...found.values()];
}

function contents(connection: Connection): Contents[] {
  const sets = listSets(connection, inet).filter(({ name }) => name.startsWith("ports/"));
  return sets.map((set) => ({ set, elements: listElements(connection, set) }));
}

function listOwn(connection: Connection, label: string): Contents[] {
  return contents(connection)
    .filter(({ set }) => set.name !== attachments.name)
    .map(({ set, elements }) => ({ set, elements: elements.filter(({ comment }) => comment === label) }));
}

/** Throws, with code 101, unless the ports are published as publishPorts would do it. */
export function checkPorts(ns: Namespace, ports: Published): void {
  const connection = ns.netfilter;
  const want = wanted(ports);
  if (want.places.length === 0) return;
  const missing = (what: string) => new CniError(codes.checkFailed, `Cannot find ${what} in nftables table inet tenon`);
  const replies = connection.try(...getElements(want.places));
  want.places.forEach(({ set, key, data }, at) => {
    const element = elementOf(replies[at]!);
    const same = element?.comment === ports.label && (!data || equalBytes(data, element.data ?? new Uint8Array(0)));
    if (!same)
      throw missing(
        `what ${set.name} has for ${isMap(set) ? `port ${wayOf({ key }).hostPort} of ` : ""}${ports.label}`,
      );
  });
  const rules = [...fixed().rules, ...want.rules().map(({ rule }) => rule)];
  for (const chain of new Set(rules.map(({ chain }) => chain))) {
    const there = listRules(connection, chain);
    for (const rule of rules) {
      if (rule.chain !== chain || there.some((have) => sameExpressions(rule.expressions, have.expressions))) continue;
      throw missing(`rule "${rule.comment}" of chain ${chain.name}`);
    }
  }
}

/** GC: ends what attachments to this network published that are not to be kept; after the last of all, the rules go. */
export function sweepPorts(ns: Namespace, { network, keep }: { network: string; keep: ReadonlySet<string> }): void {
  const connection = ns.netfilter;
  let count = 0;
  deleteWhere(
    connection,
    () => {
      const all = contents(connection);
      count = all.length;
      return all;
    },
    (comment) => isOfNetwork(comment, network) && !keep.has(comment),
    (empty) => (empty.length === count ? clear(connection, empty) : []),
  );
}

/** Takes away all that is ours, the table too if nothing else is in it. */
function clear(connection: Connection, sets: readonly NamedSet[]): Message[] {
  const chains = connection
    .dump(dumpChains(inet))
    .map(readChain)
    .filter(({ table }) => table.name === inet.name);
  const isOurs = ({ comment = "" }: Rule) => comment.startsWith("ports/");
  const there = own.filter(({ name }) => chains.some((chain) => chain.name === name));
  const rules = [postrouting, ...there].flatMap((chain) => listRules(connection, chain));
  const kept = rules.filter((rule) => !isOurs(rule));
  const others = chains.filter(({ name }) => name !== postrouting.name && !there.some((chain) => chain.name === name));
  if (others.length === 0 && kept.length === 0 && listSets(connection, inet).length === sets.length)
    return [deleteTable(inet)];
  return [
    ...rules.filter(isOurs).map(deleteRule),
    ...there.filter(({ name }) => !kept.some(({ chain }) => chain.name === name)).map(deleteChain),
    ...sets.map(deleteSet),
  ];
}

/** Throws, with code 50, if the kernel takes no rules. */
export function assertPublishing(ns: Namespace): void {
  const [reply] = ns.netfilter.try(getGeneration());
  if (reply?.error) throw new CniError(codes.unavailable, reply.error.message, { cause: reply.error });
  const chains = ns.netfilter.dump(dumpChains(inet)).map(readChain);
  for (const { table, name, base } of [...own, postrouting]) {
    const have = chains.find((chain) => chain.table.name === table.name && chain.name === name)?.base;
    if (base && have && (have.hook !== base.hook || have.type !== base.type || have.priority !== base.priority))
      throw new CniError(
        codes.unavailable,
        `Cannot use chain "${name}" of nftables table inet tenon: somebody made it with another hook`,
      );
  }
}
