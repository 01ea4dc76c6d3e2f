// The paths of a network to its other nodes: what a snapshot says, brought into the kernel, compared with it, taken away.
//
//   ensureProgrammed   ADD: nothing if the stamp is current, else under a lock all that follows
//   programme          the kernel is as the snapshot says, told in as few sends as possible; the stamp says so
//   publish            the agent: a new snapshot, into the file and into the kernel
//   repair             GC, `tenon repair`: the kernel compared with the snapshot, and mended
//   withdraw           everything of the network goes
import { CniError, codes } from "../cni/errors.ts";
import { changeNodes, ensureCluster, removeCluster } from "../ip/cluster.ts";
import { findLink, removeLink } from "../ip/link.ts";
import { ensureForwarding } from "../ip/sysctl.ts";
import { NetlinkError } from "../netlink/socket.ts";
import type { Namespace } from "../netns/netns.ts";
import { status } from "../sys/file.ts";
import type { Paths } from "./conf.ts";
import { deviceName, ensureDevice, isDeviceOf } from "./device.ts";
import { type Entry, type Ground, inOrder, listEntries, send } from "./entries.ts";
import { addNode, clusterOf, everything, familiesOf, ownerOf, planOf, readPeers, unknownSelf } from "./plan.ts";
import { loadSnapshot, type PeerNode, type Snapshot, sameNode, sameTexts, selfOf, writeSnapshot } from "./snapshot.ts";
import { markFile, type Programmed, readStamp, removeStamp, stampOf, whileAlone, writeStamp } from "./stamp.ts";
import { assertTested, footingOf } from "./underlay.ts";

/** What programming changed in the kernel, counted in routes, neighbours, forwarding entries, rules and devices. */
export interface Changes {
  /** New, or with another value than before. */
  added: number;
  removed: number;
  /** Put back although nothing new was asked for: somebody else had taken it away or changed it. */
  repaired: number;
  /** Nodes that cannot be reached, and why, in words. */
  problems: string[];
}

/** ADD: what is programmed, `fresh` if by this very call, after making sure that it is what the snapshot and the configuration say. */
export function ensureProgrammed(ns: Namespace, paths: Paths): Programmed & { fresh?: boolean } {
  const there = stillThere(ns, paths);
  if (there) return there;
  return whileAlone(paths.network, () => {
    const meanwhile = stillThere(ns, paths);
    if (meanwhile) return meanwhile;
    const mark = markFile(paths);
    programme(ns, paths, readPeers(paths), undefined, mark);
    const programmed = readStamp(paths);
    // The file was replaced while it was read: who replaces it programmes it, or the next ADD.
    if (!programmed) throw new CniError(codes.tryAgain, `Cannot keep up: "${paths.file}" changes all the time`);
    return { ...programmed, fresh: true };
  });
}

/** The stamp, if it is current and the device that it speaks of is there. */
function stillThere(ns: Namespace, paths: Paths): Programmed | undefined {
  const programmed = readStamp(paths);
  if (!programmed?.device) return programmed;
  return findLink(ns, programmed.device.name)?.index === programmed.device.index ? programmed : undefined;
}

/**
 * The agent's: puts the snapshot into the kernel, then into the file, and says so by the stamp, while no ADD does. The file of
 * thousands takes longer than one change in the kernel; who dies between the two leaves no stamp.
 */
export function publish(ns: Namespace, paths: Paths, snapshot: Snapshot, previous?: Snapshot): Changes {
  const write = () => {
    writeSnapshot(snapshot, paths.file);
    return markFile(paths);
  };
  return whileAlone(paths.network, () => programme(ns, paths, snapshot, previous, write));
}

/** Compares the kernel with the snapshot in the file and mends what differs: GC, `tenon repair`. */
export function repair(ns: Namespace, paths: Paths): Changes {
  return whileAlone(paths.network, () => {
    const mark = markFile(paths);
    return programme(ns, paths, readPeers(paths), undefined, mark);
  });
}

/** GC: the same, where there are a snapshot and something that was programmed. */
export function repairIfAny(ns: Namespace, paths: Paths): void {
  if (stampOf(paths.network) && status(paths.file)) repair(ns, paths);
}

/** What this process programmed last, by network: what `previous` stood on, and the nodes that could not be reached. */
const last = new Map<string, { footing: string; problems: Map<string, string[]> }>();

/**
 * Brings the kernel to what the snapshot says. With the snapshot that this process programmed before, the cost is that of
 * the nodes that differ; without it, or where the ground has moved (device, underlay, this node itself), everything is
 * compared with what the kernel has. Nodes that cannot be reached are told of, the others programmed all the same.
 * `mark` is the identity of the snapshot's file, for the stamp, or puts a new snapshot there and tells; default: the file as
 * it is now.
 */
export function programme(
  ns: Namespace,
  paths: Paths,
  snapshot: Snapshot,
  previous?: Snapshot,
  mark: string | (() => string) = markFile(paths),
): Changes {
  const isNew = typeof mark === "function";
  const repairing = !isNew && previous === undefined && readStamp(paths) !== undefined;
  const before = stampOf(paths.network)?.paths;
  const { ground, device } = planOf(ns, paths, snapshot);
  removeStamp(paths.network);
  const changes: Changes = { added: 0, removed: 0, repaired: 0, problems: [] };
  const count = (by: number) => {
    changes[repairing ? "repaired" : "added"] += by;
  };
  if (before) changes.removed += leave(ns, before, paths, snapshot);
  if (device) {
    const { index, changed } = ensureDevice(ns, device);
    ground.device = index;
    if (changed) count(1);
  } else {
    for (const family of familiesOf(snapshot)) ensureForwarding(ns, family);
  }

  const self = selfOf(snapshot);
  // All that the entries of other nodes depend on.
  const footing = JSON.stringify([paths, ground.device, footingOf(ground.underlay), self]);
  const mine = last.get(paths.network);
  last.delete(paths.network);
  const known = mine?.footing === footing ? previous : undefined;
  const problems = known ? mine!.problems : new Map<string, string[]>();
  const passed = known && nodesBetween(known, snapshot);
  const { put, surplus } = passed
    ? entriesBetween(ground, passed, problems)
    : against(everything(ground, snapshot, problems), listEntries(ns, ground, ownerOf(paths, snapshot)));
  // What is no longer wanted goes first: an address may have passed to another node.
  drop(ns, surplus);
  try {
    send(
      ns,
      inOrder(put).map((entry) => entry.put()),
    );
  } catch (error) {
    if (error instanceof NetlinkError && error.code === "EINVAL") assertTested(ground.underlay);
    throw error;
  }
  changes.removed += surplus.length;
  count(put.length);
  if (!passed) ensureCluster(ns, clusterOf(paths, snapshot));
  else if (samePods(paths, passed)) passNodes(ns, paths, snapshot, passed);
  else ensureCluster(ns, clusterOf(paths, snapshot));

  if (!ground.underlay.known) changes.problems.push(unknownSelf(snapshot));
  for (const some of problems.values()) for (const one of some) changes.problems.push(one);
  last.set(paths.network, { footing, problems });
  writeStamp(paths, isNew ? mark() : mark, {
    device: device && { index: ground.device, name: device.name, mtu: device.mtu },
    problems: changes.problems,
    since: Math.floor(Date.now() / 1000),
  });
  return changes;
}

/** Takes away what stands where the configuration had it before: another tunnel, another table. How many things that were. */
function leave(ns: Namespace, before: Paths, paths: Paths, snapshot: Snapshot): number {
  let removed = 0;
  if (before.tunnel && before.tunnel.vni !== paths.tunnel?.vni) removed += removeTunnel(ns, before);
  if (before.table !== undefined && before.table !== paths.table) {
    const there = listEntries(ns, { paths: { ...before, tunnel: undefined }, device: 0 }, ownerOf(paths, snapshot));
    const stale = there.filter(({ table }) => table === before.table);
    drop(ns, stale);
    removed += stale.length;
  }
  return removed;
}

/** Removes the tunnel of a network: its rules, its device and with that all that leads there. How many things that were. */
function removeTunnel(ns: Namespace, paths: Paths): number {
  const name = paths.tunnel && deviceName(paths.tunnel.vni);
  const link = name === undefined ? undefined : findLink(ns, name);
  if (!link || !isDeviceOf(link, paths.network)) return 0;
  const entries = listEntries(ns, { paths, device: link.index }, () => false);
  drop(ns, entries);
  removeLink(ns, { index: link.index });
  return entries.length + 1;
}

function drop(ns: Namespace, entries: Entry[]): void {
  const messages = inOrder(entries).map((entry) => entry.drop());
  send(ns, messages.reverse());
}

/** What must be put and what must be dropped, so that `have` becomes `wanted`. */
function against(wanted: readonly Entry[], have: readonly Entry[]): { put: Entry[]; surplus: Entry[] } {
  const there = new Map<string, Entry>();
  for (const entry of have) there.set(entry.key, entry);
  const put: Entry[] = [];
  for (const entry of wanted) {
    if (there.get(entry.key)?.value !== entry.value) put.push(entry);
    there.delete(entry.key);
  }
  return { put, surplus: [...there.values()] };
}

/** Nodes that went and came from one snapshot to the next; who changed did both. This node is in both the same. */
interface Passage {
  gone: PeerNode[];
  come: PeerNode[];
}

function nodesBetween(before: Snapshot, now: Snapshot): Passage {
  const old = new Map<string, PeerNode>();
  const others: PeerNode[] = [];
  // Most are the same object in the same place.
  for (let at = 0; at < before.nodes.length || at < now.nodes.length; at++) {
    const [was, is] = [before.nodes[at], now.nodes[at]];
    if (was === is) continue;
    if (was) old.set(was.name, was);
    if (is) others.push(is);
  }
  const come: PeerNode[] = [];
  for (const node of others) {
    const was = old.get(node.name);
    if (was && sameNode(was, node)) old.delete(node.name);
    else come.push(node);
  }
  return { gone: [...old.values()], come };
}

/** What must be put and dropped for these nodes alone. */
function entriesBetween(ground: Ground, { gone, come }: Passage, problems: Map<string, string[]>) {
  const [have, wanted]: [Entry[], Entry[]] = [[], []];
  for (const node of gone) {
    addNode(ground, node, have, problems);
    problems.delete(node.name);
  }
  for (const node of come) addNode(ground, node, wanted, problems);
  return against(wanted, have);
}

/** Whether the networks of pods that are exempt from masquerade stay as they are. */
function samePods({ clusterCidrs }: Paths, { gone, come }: Passage): boolean {
  if (clusterCidrs.length > 0) return true;
  const subnets = (nodes: PeerNode[]) => nodes.flatMap(({ subnets }) => subnets).sort();
  return sameTexts(subnets(gone), subnets(come));
}

/** Brings the exempt nodes up to date; should anything be missing there, the whole exemption. */
function passNodes(ns: Namespace, paths: Paths, snapshot: Snapshot, { gone, come }: Passage): void {
  const addresses = (nodes: PeerNode[]) => nodes.flatMap(({ addresses }) => addresses);
  if (!changeNodes(ns, paths.network, addresses(gone), addresses(come), familiesOf(snapshot)))
    ensureCluster(ns, clusterOf(paths, snapshot));
}

/** Takes everything of the network out of the kernel, and its stamp; the snapshot's file stays. */
export function withdraw(ns: Namespace, paths: Paths): Changes {
  return whileAlone(paths.network, () => {
    let snapshot: Snapshot | undefined;
    try {
      snapshot = loadSnapshot(paths.file);
    } catch (error) {
      if (!(error instanceof CniError)) throw error; // what cannot be read tells of no routes: ours are found all the same
    }
    let removed = removeTunnel(ns, paths);
    const entries = listEntries(ns, { paths: { ...paths, tunnel: undefined }, device: 0 }, ownerOf(paths, snapshot));
    drop(ns, entries);
    removed += entries.length;
    removeCluster(ns, paths.network);
    removeStamp(paths.network);
    last.delete(paths.network);
    return { added: 0, removed, repaired: 0, problems: [] };
  });
}
