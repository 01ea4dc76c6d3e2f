// What a snapshot and a configuration come to on this host: the device, the cluster, and the entries of every node.
import { badConfig, CniError, codes } from "../cni/errors.ts";
import type { Cluster } from "../ip/cluster.ts";
import type { Namespace } from "../netns/netns.ts";
import type { Paths } from "./conf.ts";
import { type Device, deviceOf } from "./device.ts";
import { type Entry, entriesOf, type Ground, ownEntries } from "./entries.ts";
import { loadSnapshot, type PeerNode, type Snapshot, selfOf } from "./snapshot.ts";
import { stampedNetworks, stampOf } from "./stamp.ts";
import { familyOfText, findUnderlay } from "./underlay.ts";

/** The snapshot of a network. Code 11 where there is no file; code 7 where it is another network's. */
export function readPeers(paths: Paths): Snapshot {
  const snapshot = loadSnapshot(paths.file);
  if (!snapshot) {
    throw new CniError(
      codes.tryAgain,
      `Cannot find the other nodes of network "${paths.network}": there is no file "${paths.file}"`,
    );
  }
  if (snapshot.network !== paths.network)
    throw badConfig("network", snapshot.network, `"${paths.file}" is to be of network "${paths.network}"`);
  return snapshot;
}

/** All that a snapshot comes to on this host. */
export interface Plan {
  ground: Ground;
  device?: Device;
}

/** Throws code 50 without an underlay. */
export function planOf(ns: Namespace, paths: Paths, snapshot: Snapshot): Plan {
  const self = selfOf(snapshot);
  const underlay = findUnderlay(ns, paths, self);
  const device = paths.tunnel && deviceOf(paths, paths.tunnel, self, underlay);
  return { ground: { paths, underlay, device: 0 }, device };
}

/** Who is exempt from masquerade. */
export function clusterOf({ network, clusterCidrs }: Paths, { nodes }: Snapshot): Cluster {
  return {
    network,
    pods: clusterCidrs.length > 0 ? clusterCidrs : nodes.flatMap(({ subnets }) => subnets),
    nodes: nodes.flatMap(({ addresses }) => addresses),
  };
}

/** Said where this node's addresses are not those of the snapshot. */
export const unknownSelf = ({ self }: Snapshot) =>
  `Node "${self}" has none of the addresses that the others know it by`;

/** Families of the pods. */
export function familiesOf({ nodes }: Snapshot): (4 | 6)[] {
  const all = new Set<4 | 6>();
  for (const { subnets } of nodes) for (const subnet of subnets) all.add(familyOfText(subnet));
  return [...all];
}

/** Families of which this host forwards packets: by a tunnel those of its own pods, otherwise those of all. */
export function forwarded(snapshot: Snapshot, device: Device | undefined): (4 | 6)[] {
  if (!device) return familiesOf(snapshot);
  return [...new Set(device.addresses.map(familyOfText))];
}

/** Every entry that the snapshot asks for. */
export function everything(ground: Ground, snapshot: Snapshot, problems: Map<string, string[]>): Entry[] {
  const self = selfOf(snapshot);
  const wanted = ownEntries(ground, self);
  for (const node of snapshot.nodes) if (node !== self) addNode(ground, node, wanted, problems);
  return wanted;
}

/** The same of one node, added to `to` and, by the node's name, to `problems`. */
export function addNode(ground: Ground, node: PeerNode, to: Entry[], problems: Map<string, string[]>): void {
  const made = entriesOf(ground, node);
  for (const entry of made.entries) to.push(entry);
  if (made.problems.length > 0) problems.set(node.name, made.problems);
}

/** Which plain routes with our protocol are this network's: all but those to pods of other networks. */
export function ownerOf(paths: Paths, snapshot?: Snapshot): (destination: string) => boolean {
  const own = new Set(snapshot?.nodes.flatMap(({ subnets }) => subnets));
  let others: Set<string> | undefined;
  return (destination) => {
    if (own.has(destination)) return true;
    others ??= new Set(otherSubnets(paths));
    return !others.has(destination);
  };
}

/** The pods' networks of every other network that is programmed here. */
function otherSubnets({ network, file }: Paths): string[] {
  return stampedNetworks()
    .filter((name) => name !== network)
    .flatMap((name) => {
      const paths = stampOf(name)?.paths;
      if (!paths || paths.file === file) return [];
      try {
        return loadSnapshot(paths.file)?.nodes.flatMap(({ subnets }) => subnets) ?? [];
      } catch (error) {
        if (error instanceof CniError) return []; // unreadable: its next ADD says so
        throw error;
      }
    });
}
