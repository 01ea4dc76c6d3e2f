// Traffic within a cluster keeps its own addresses: rules at the head of chain `postrouting` of table inet tenon, before any
// masquerade, also one that is made later (those are appended). For each network and family:
//
//   meta mark & 0x1000 == 0  ip saddr @cluster/NETWORK/pods4/FINGERPRINT  ip daddr @cluster/NETWORK/pods4/FINGERPRINT  accept
//   meta mark & 0x1000 == 0  ip saddr @cluster/NETWORK/pods4/FINGERPRINT  ip daddr @cluster/NETWORK/nodes4             accept
//
// Packets to a published port bear the mark: their source may have to be changed even within the cluster. Pods are a set of
// intervals, which changes seldom and then as a whole; nodes a hash set, which changes by single elements.
import { type Cidr, formatIp, parseCidr, parseIp } from "../netlink/inet.ts";
import type { Connection, Message } from "../netlink/socket.ts";
import type { Namespace } from "../netns/netns.ts";
import { deleteAll, listElements, listSets, type NamedSet } from "../nftables/attachment.ts";
import { addChain } from "../nftables/chain.ts";
import { createElements, type Element } from "../nftables/element.ts";
import { sameExpressions } from "../nftables/expression.ts";
import { intervalsOf } from "../nftables/interval.ts";
import { inet, postrouting, publishedMark } from "../nftables/layout.ts";
import { hash, pathOf } from "../nftables/name.ts";
import { accept, daddr, inSet, lacksMark, saddr, say } from "../nftables/phrase.ts";
import { deleteRule, insertRule, listRules, type Rule } from "../nftables/rule.ts";
import { addSet, deleteSet, type SetSpec } from "../nftables/set.ts";
import { addTable } from "../nftables/table.ts";
import { change, tryCommit } from "../nftables/transaction.ts";

/** Who is in a network's cluster: networks of pods, addresses of nodes; both families together. */
export interface Cluster {
  network: string;
  pods: readonly string[];
  nodes: readonly string[];
}

/** What one family needs. */
interface Wanted {
  pods: SetSpec;
  nodes: SetSpec;
  podElements(): Element[];
  nodeKeys: Uint8Array[];
  rules: Rule[];
}

/** One message holds 64 KiB of elements. */
const inMessage = 1024;

const prefixOf = (network: string) => `cluster/${pathOf(network)}/`;

function wantedOf({ network, pods, nodes }: Cluster): Wanted[] {
  const path = prefixOf(network);
  return ([4, 6] as const).flatMap((family): Wanted[] => {
    const six = family === 6;
    const networks = pods.filter((text) => text.includes(":") === six).map(cidr);
    if (networks.length === 0) return [];
    // As intervals: networks side by side that come or go together are one.
    let made: Element[] | undefined;
    const elements = () => {
      made ??= intervalsOf(networks);
      return made;
    };
    const fingerprint = hash(elements().map(edgeOf).join());
    const key = [six ? "ipv6_addr" : "ipv4_addr"] as const;
    const podSet: SetSpec = { table: inet, name: `${path}pods${family}/${fingerprint}`, key, intervals: true };
    const nodeSet: SetSpec = { table: inet, name: `${path}nodes${family}`, key };
    const rule = (comment: string, set: SetSpec): Rule => ({
      chain: postrouting,
      expressions: say(lacksMark(publishedMark), inSet(saddr[family], podSet), inSet(daddr[family], set), accept),
      comment: `${path}${comment}${family}`,
    });
    return [
      {
        pods: podSet,
        nodes: nodeSet,
        podElements: elements,
        nodeKeys: nodes.filter((text) => text.includes(":") === six).map((text) => parseIp(text)!),
        rules: [rule("pods", podSet), rule("nodes", nodeSet)],
      },
    ];
  });
}

function cidr(text: string): Cidr {
  const cidr = parseCidr(text);
  if (!cidr) throw new TypeError(`Cannot exempt "${text}" from masquerade: not a network`);
  return cidr;
}

/** Makes it so, after a look at what is there. */
export function ensureCluster(ns: Namespace, cluster: Cluster): void {
  change(ns.netfilter, () => plan(ns.netfilter, cluster));
}

/**
 * Nodes go and come while the pods' networks, of these families, stay: as many elements as there are addresses. False where
 * that cannot be done because something is not as it was.
 */
export function changeNodes(
  ns: Namespace,
  network: string,
  gone: readonly string[],
  come: readonly string[],
  families: readonly (4 | 6)[],
): boolean {
  const changes = families.flatMap((family) => {
    const set = { table: inet, name: `${prefixOf(network)}nodes${family}` };
    const elements = (texts: readonly string[], others: readonly string[]) =>
      texts
        .filter((text) => text.includes(":") === (family === 6) && !others.includes(text))
        .map((text): Element => ({ key: parseIp(text)! }));
    return [...deleteAll(set, elements(gone, come)), ...createAll(set, elements(come, gone))];
  });
  return tryCommit(ns.netfilter, changes).length === 0;
}

function createAll(set: NamedSet, elements: readonly Element[]): Message[] {
  const messages: Message[] = [];
  for (let at = 0; at < elements.length; at += inMessage)
    messages.push(createElements(set, elements.slice(at, at + inMessage)));
  return messages;
}

/** Every change from what there is to what is wanted; none where all is as it should be. */
function plan(connection: Connection, cluster: Cluster): Message[] {
  const path = prefixOf(cluster.network);
  const all = wantedOf(cluster);
  const sets = listSets(connection, inet).filter(({ name }) => name.startsWith(path));
  const rules = listRules(connection, postrouting);
  const own = rules.filter(({ comment = "" }) => comment.startsWith(path));
  const changes: Message[] = [];
  for (const { pods, nodes, podElements, nodeKeys } of all) {
    const [podsThere, nodesThere] = [pods, nodes].map(({ name }) => sets.some((set) => set.name === name));
    if (!podsThere) changes.push(addSet(pods), ...createAll(pods, podElements()));
    if (!nodesThere) changes.push(addSet(nodes));
    const there = nodesThere ? listElements(connection, nodes) : [];
    const [have, want] = [new Set(there.map(textOf)), new Set(nodeKeys.map(formatIp))];
    changes.push(
      ...deleteAll(
        nodes,
        there.filter((element) => !want.has(textOf(element))),
      ),
      ...createAll(
        nodes,
        nodeKeys.filter((key) => !have.has(formatIp(key))).map((key) => ({ key })),
      ),
    );
  }
  const wanted = all.flatMap(({ rules }) => rules);
  if (!isInPlace(wanted, own, rules)) changes.push(...own.map(deleteRule), ...[...wanted].reverse().map(insertRule));
  const surplus = sets.filter(({ name }) => !all.some(({ pods, nodes }) => name === pods.name || name === nodes.name));
  changes.push(...surplus.map(deleteSet));
  return changes.length === 0 || all.length === 0 ? changes : [addTable(inet), addChain(postrouting), ...changes];
}

const textOf = ({ key }: Element) => formatIp(key);
/** An edge of an interval. */
const edgeOf = ({ key, end }: Element) => `${formatIp(key)}${end ? "!" : ""}`;

const isMasquerade = ({ expressions }: Rule) => expressions.some(({ name }) => name === "masq");

/** Whether these rules, and no others of the network, are there, before whatever masquerades. */
function isInPlace(wanted: readonly Rule[], own: readonly Rule[], rules: readonly Rule[]): boolean {
  if (own.length !== wanted.length) return false;
  const masquerade = rules.findIndex(isMasquerade);
  return wanted.every((rule) => {
    const at = rules.findIndex(({ expressions }) => sameExpressions(rule.expressions, expressions));
    return at >= 0 && (masquerade < 0 || at < masquerade);
  });
}

/** Whether masquerade leaves the cluster's traffic alone, in words; nothing where it does, or where nothing masquerades. */
export function compareExemption(ns: Namespace, cluster: Cluster): string[] {
  const rules = listRules(ns.netfilter, postrouting);
  return rules.some(isMasquerade) ? compareRules(cluster.network, wantedOf(cluster), rules) : [];
}

function compareRules(network: string, all: readonly Wanted[], rules: readonly Rule[]): string[] {
  const own = rules.filter(({ comment = "" }) => comment.startsWith(prefixOf(network)));
  const wanted = all.flatMap(({ rules }) => rules);
  return isInPlace(wanted, own, rules)
    ? []
    : [`the rules that exempt network "${network}" from masquerade are missing, or behind a masquerade`];
}

/** What is not as ensureCluster would make it, in words; nothing where all is. */
export function compareCluster(ns: Namespace, cluster: Cluster): string[] {
  const connection = ns.netfilter;
  const all = wantedOf(cluster);
  const sets = listSets(connection, inet);
  const found = compareRules(cluster.network, all, listRules(connection, postrouting));
  for (const { pods, nodes, podElements, nodeKeys } of all) {
    const there = sets.some(({ name }) => name === pods.name) ? listElements(connection, pods) : [];
    const held = new Set(there.map(edgeOf));
    if (!podElements().every((element) => held.has(edgeOf(element))))
      found.push(`networks of pods that are not exempt from masquerade: ${some(cluster.pods)}`);
    const have = new Set(listElements(connection, nodes).map(textOf));
    const missing = nodeKeys.map(formatIp).filter((text) => !have.delete(text));
    if (missing.length > 0) found.push(`nodes that are not exempt from masquerade: ${some(missing)}`);
    if (have.size > 0) found.push(`addresses exempt from masquerade that no node has: ${some([...have])}`);
  }
  return found;
}

const some = (texts: readonly string[]) =>
  `${texts.slice(0, 5).join(", ")}${texts.length > 5 ? ` and ${texts.length - 5} more` : ""}`;

/** Takes everything of a network away. */
export function removeCluster(ns: Namespace, network: string): void {
  ensureCluster(ns, { network, pods: [], nodes: [] });
}
