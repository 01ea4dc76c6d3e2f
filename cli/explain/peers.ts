// Whose pod an address is that no pod of this node has: what the snapshots of networks say.
import { readdirSync } from "node:fs";
import { contains, parseCidr, parseIp } from "../../lib/netlink/inet.ts";
import { loadSnapshot, type PeerNode } from "../../lib/peers/snapshot.ts";

/** Where snapshots are by default. */
export const snapshotFolder = "/run/tenon/peers";

/** The networks that have a snapshot there. */
export function listSnapshots(folder = snapshotFolder): { network: string; file: string }[] {
  let names: string[];
  try {
    names = readdirSync(folder).sort();
  } catch {
    return []; // no folder, no networks
  }
  return names
    .filter((name) => name.endsWith(".json"))
    .map((name) => ({ network: name.slice(0, -".json".length), file: `${folder}/${name}` }));
}

/** The other node whose pods' networks hold the address. */
export function findPeer(address: string, folder = snapshotFolder): { network: string; node: PeerNode } | undefined {
  const ip = parseIp(address)!;
  for (const { network, file } of listSnapshots(folder)) {
    let snapshot: ReturnType<typeof loadSnapshot>;
    try {
      snapshot = loadSnapshot(file);
    } catch {
      continue; // `tenon status` tells of it
    }
    const node = snapshot?.nodes.find(
      ({ name, subnets }) => name !== snapshot.self && subnets.some((subnet) => contains(parseCidr(subnet)!, ip)),
    );
    if (node) return { network, node };
  }
  return undefined;
}
