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
  const byName = new Map<unknown, PeerNode>();
  for (const node of before) byName.set(node.name, node);
  const nodes: PeerNode[] = [];
  const changed: number[] = [];
  for (let at = 0; at < list.length; at++) {
    const one = list[at] as PeerNode | null;
    // Out of the map with it: one that comes with its name again is a change, and clashes.
    const old = byName.get(one?.name);
    if (old && isAsKnown(one!, old)) {
      nodes.push(old);
      byName.delete(old.name);
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
  for (const at of changed)
    for (const node of nodes) if (node !== nodes[at] && clash(node, nodes[at]!)) return undefined;
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

function clash(a: PeerNode, b: PeerNode): boolean {
  if (a.name === b.name) return true;
  for (const address of a.addresses) if (b.addresses.includes(address)) return true;
  for (const one of a.subnets) for (const other of b.subnets) if (overlap(one, other)) return true;
  return false;
}

/** Whether networks overlap; those of one size, as nearly all are, only if they are the same. */
function overlap(a: string, b: string): boolean {
  if (a.includes(":") !== b.includes(":")) return false;
  if (a.slice(a.indexOf("/")) === b.slice(b.indexOf("/"))) return a === b;
  const [one, other] = [parseCidr(a)!, parseCidr(b)!];
  return one.prefix < other.prefix ? contains(one, other.ip) : contains(other, one.ip);
}
