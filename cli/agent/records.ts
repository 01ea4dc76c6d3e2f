// Records of nodes as sources hold them: read by the rules of the snapshot, each known one kept as the object that it was.
import { contains, parseCidr } from "../../lib/netlink/inet.ts";
import { type PeerNode, sameNode, toSnapshot } from "../../lib/peers/snapshot.ts";

/** Reads one node. Throws what the snapshot's table says against it; `where` is named. */
export function readNode(json: unknown, where: string): PeerNode {
  const { name } = (json ?? {}) as { name?: unknown };
  const self = typeof name === "string" ? name : "-";
  return toSnapshot({ version: 1, network: "-", self, nodes: [json] }, where).nodes[0]!;
}

/** The same nodes, with the objects of `before` where nothing changed. */
export function keepKnown(nodes: readonly PeerNode[], before: readonly PeerNode[]): PeerNode[] {
  const known = new Map(before.map((node) => [node.name, node]));
  return nodes.map((node) => {
    const old = known.get(node.name);
    return old && sameNode(old, node) ? old : node;
  });
}

/** More nodes than these are read as a whole. */
const FEW = 8;

/**
 * The nodes of a list in which all but a few say what they said `before`: only those few are read, and looked at beside the
 * others. Undefined where more has changed, or anything is wrong: then the whole list has to be read, which says what.
 */
export function readFew(list: readonly unknown[], before: readonly PeerNode[], self: string): PeerNode[] | undefined {
  const byName = new Map<unknown, number>();
  for (const [at, { name }] of before.entries()) byName.set(name, at);
  /** One that comes again is a change, and clashes. */
  const met = new Uint8Array(before.length);
  const nodes: PeerNode[] = [];
  const changed: number[] = [];
  for (let at = 0; at < list.length; at++) {
    const one = list[at] as PeerNode | null;
    const known = byName.get(one?.name);
    if (known !== undefined && met[known] === 0 && isAsKnown(one!, before[known]!)) {
      nodes.push(before[known]!);
      met[known] = 1;
    } else {
      nodes.push(one as PeerNode);
      if (changed.push(at) > FEW) return undefined;
    }
  }
  try {
    for (const at of changed) nodes[at] = readNode(list[at], "");
  } catch {
    return undefined;
  }
  if (!nodes.some(({ name }) => name === self)) return undefined;
  // Of those that are known, what the list says is the same and has just been in hand.
  const others = list.slice() as PeerNode[];
  for (const at of changed) others[at] = nodes[at]!;
  for (const at of changed) {
    const clashes = clashWith(nodes[at]!);
    for (const other of others) if (other !== nodes[at] && clashes(other)) return undefined;
  }
  return nodes;
}

/** Whether what stands in a list is the very node, word by word, and nothing besides. */
function isAsKnown(json: PeerNode, node: PeerNode): boolean {
  return (
    Array.isArray(json.subnets) &&
    Array.isArray(json.addresses) &&
    sameNode(json, node) &&
    Object.keys(json).length === Object.keys(node).length
  );
}

/** Whether another node has the name, an address or a part of a network of this one. */
function clashWith({ name, subnets, addresses }: PeerNode): (other: PeerNode) => boolean {
  const own = subnets.map((text) => ({ text, six: text.includes(":"), length: text.slice(text.indexOf("/")) }));
  // Networks of one size, as nearly all are, overlap only if they are the same.
  const overlaps = (other: string) =>
    own.some(({ text, six, length }) =>
      other.endsWith(length) ? other === text : other.includes(":") === six && overlap(text, other),
    );
  return (other) =>
    other.name === name || other.addresses.some((one) => addresses.includes(one)) || other.subnets.some(overlaps);
}

function overlap(a: string, b: string): boolean {
  const [one, other] = [parseCidr(a)!, parseCidr(b)!];
  return one.prefix < other.prefix ? contains(one, other.ip) : contains(other, one.ip);
}
