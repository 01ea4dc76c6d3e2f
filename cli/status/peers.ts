// The other nodes of the networks that are programmed on this one: each beside what the kernel has of it.
import { findLink } from "../../lib/ip/link.ts";
import { host, type Namespace } from "../../lib/netns/netns.ts";
import { compare, type Difference } from "../../lib/peers/compare.ts";
import type { Paths } from "../../lib/peers/conf.ts";
import { entriesOf, listEntries } from "../../lib/peers/entries.ts";
import { ownerOf, planOf } from "../../lib/peers/plan.ts";
import { loadSnapshot, type PeerNode, peersPath, type Snapshot } from "../../lib/peers/snapshot.ts";
import { readStamp, stampedNetworks, stampOf } from "../../lib/peers/stamp.ts";
import { listSnapshots } from "../explain/peers.ts";

/** What the kernel has of one node: "ok", "missing", "different", or "-" where nothing is needed. */
export interface PeerState extends Pick<PeerNode, "name" | "subnets" | "addresses"> {
  route: string;
  neighbour: string;
  forwarding: string;
  problems: string[];
}

export interface PeerNetwork {
  network: string;
  self?: string;
  /** The tunnel's device; none for plain routes. */
  device?: string;
  /** Milliseconds since 1970: when the kernel was told last. Undefined where the snapshot is newer than that. */
  since?: number;
  peers: PeerState[];
  /** What of the network is not as the snapshot says. */
  differences: Difference[];
  /** Why nothing can be told. */
  problem?: string;
}

/** The networks that have a snapshot or were programmed, all or those named. */
export function peerNetworks(only: readonly string[] = [], ns: Namespace = host): PeerNetwork[] {
  const names = new Set([...stampedNetworks(), ...listSnapshots().map(({ network }) => network)]);
  return [...names]
    .sort()
    .filter((network) => only.length === 0 || only.includes(network))
    .map((network) => look(network, ns));
}

function look(network: string, ns: Namespace): PeerNetwork {
  const empty = { network, peers: [], differences: [] };
  try {
    const paths = stampOf(network)?.paths;
    const snapshot = loadSnapshot(paths?.file ?? peersPath(network));
    if (!snapshot) return { ...empty, problem: "its snapshot is gone" };
    const known = { ...empty, self: snapshot.self };
    // No ADD and no agent has said yet by which plugin, and with which keys, it is led.
    if (!paths) return { ...known, peers: others(snapshot).map(unknown), problem: "it is not programmed yet" };
    const { peers, device } = compared(ns, paths, snapshot);
    const since = readStamp(paths)?.since;
    return {
      ...known,
      device,
      ...(since === undefined ? {} : { since: since * 1000 }),
      peers,
      differences: compare(ns, paths, snapshot),
    };
  } catch (error) {
    return { ...empty, problem: (error as Error).message };
  }
}

const others = ({ self, nodes }: Snapshot) => nodes.filter(({ name }) => name !== self);

const unknown = ({ name, subnets, addresses }: PeerNode): PeerState => ({
  name,
  subnets,
  addresses,
  route: "?",
  neighbour: "?",
  forwarding: "?",
  problems: [],
});

function compared(ns: Namespace, paths: Paths, snapshot: Snapshot): { peers: PeerState[]; device?: string } {
  const { ground, device } = planOf(ns, paths, snapshot);
  if (device) ground.device = findLink(ns, device.name)?.index ?? 0;
  const have = new Map(listEntries(ns, ground, ownerOf(paths, snapshot)).map(({ key, value }) => [key, value]));
  const peers = others(snapshot).map((node): PeerState => {
    const { entries, problems } = entriesOf(ground, node);
    const stateOf = (kind: string) => {
      const wanted = entries.filter((entry) => entry.kind === kind);
      if (wanted.length === 0) return kind !== "route" && ground.device === 0 && device ? "missing" : "-";
      if (wanted.some(({ key }) => !have.has(key))) return "missing";
      return wanted.every(({ key, value }) => have.get(key) === value) ? "ok" : "different";
    };
    const { name, subnets, addresses } = node;
    const states = { route: stateOf("route"), neighbour: stateOf("neighbour"), forwarding: stateOf("forwarding") };
    return { name, subnets, addresses, ...states, problems };
  });
  return { peers, device: device?.name };
}

/** Whether a network's paths are as they should be. */
export const isWell = ({ problem, differences }: PeerNetwork): boolean => !problem && differences.length === 0;
