// Records of nodes as sources hold them: read by the rules of the snapshot, each known one kept as the object that it was.
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
