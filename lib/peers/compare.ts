// What of a network's paths is not as it should be: the kernel beside the snapshot, and what keeps packets from passing.
import { CniError, codes } from "../cni/errors.ts";
import { compareCluster, compareExemption } from "../ip/cluster.ts";
import { findLink } from "../ip/link.ts";
import type { Namespace } from "../netns/netns.ts";
import type { Paths } from "./conf.ts";
import { clashing, compareDevice, compareForwarding, findDevice } from "./device.ts";
import { eachEntry } from "./entries.ts";
import { clusterOf, everything, forwarded, ownerOf, planOf, readPeers, unknownSelf } from "./plan.ts";
import type { Snapshot } from "./snapshot.ts";
import { type Programmed, readStamp } from "./stamp.ts";
import type { Underlay } from "./underlay.ts";

/** One thing that is not as the snapshot and the configuration say. */
export interface Difference {
  /** `unreachable`: a node that no way leads to; `different` also of the host's settings. */
  state: "missing" | "surplus" | "different" | "unreachable";
  what: string;
}

/** What in the kernel is not as `programme` would make it; nothing where all is. Throws code 50 without an underlay. */
export function compare(ns: Namespace, paths: Paths, snapshot: Snapshot): Difference[] {
  const found: Difference[] = [];
  const different = (what: string) => found.push({ state: "different", what });
  const { ground, device } = planOf(ns, paths, snapshot);
  if (device) {
    compareDevice(ns, device).forEach(different);
    ground.device = findLink(ns, device.name)?.index ?? 0;
  }
  compareForwarding(ns, forwarded(snapshot, device)).forEach(different);
  const problems = new Map<string, string[]>();
  // Without the device there is nothing to compare the nodes' entries with: it is missing with all of them.
  if (!device || ground.device !== 0) {
    // Of thousands of nodes, only what tells of their entries is kept, and the kernel's are looked at one by one.
    const wanted = new Map<string, string>();
    const met = new Set<string>();
    for (const { key, value } of everything(ground, snapshot, problems)) wanted.set(key, value);
    for (const { key, value } of eachEntry(ns, ground, ownerOf(paths, snapshot))) {
      const want = wanted.get(key);
      if (want === undefined) found.push({ state: "surplus", what: `${key}: ${value}` });
      else if (want !== value) different(`${key}: ${value}, not ${want}`);
      met.add(key);
    }
    for (const [key, value] of wanted) if (!met.has(key)) found.push({ state: "missing", what: `${key}: ${value}` });
  }
  compareCluster(ns, clusterOf(paths, snapshot)).forEach(different);
  compareMtu(snapshot, ground.underlay).forEach(different);
  if (!ground.underlay.known) found.push({ state: "unreachable", what: unknownSelf(snapshot) });
  for (const some of problems.values()) for (const what of some) found.push({ state: "unreachable", what });
  return found;
}

/** Nodes whose links carry less than this one's: what they are sent in full size is lost or cut up. */
export function compareMtu({ nodes, self }: Snapshot, { link }: Underlay): string[] {
  const found: string[] = [];
  for (const { name, mtu } of nodes)
    if (name !== self && mtu !== undefined && link.mtu !== undefined && mtu < link.mtu)
      found.push(`MTU: link "${link.name}" has ${link.mtu}, but node "${name}" takes ${mtu} only`);
  return found;
}

/** CHECK: throws code 101 with everything that differs, unreachable nodes aside; tells what is programmed. */
export function assertAsProgrammed(ns: Namespace, paths: Paths): Pick<Programmed, "device"> {
  const found = compare(ns, paths, readPeers(paths)).filter(({ state }) => state !== "unreachable");
  if (found.length > 0) {
    const texts = found.slice(0, 20).map(({ state, what }) => `${state}: ${what}`);
    throw new CniError(codes.checkFailed, `Cannot use the paths to other nodes: ${texts[0]}`, {
      details: `${texts.slice(1).join("; ")}${found.length > 20 ? `; and ${found.length - 20} more` : ""}` || undefined,
    });
  }
  return { device: readStamp(paths)?.device };
}

/** STATUS: throws code 50, naming all that would keep an ADD or its pods' packets from getting on; returns lesser trouble. */
export function assertPaths(ns: Namespace, paths: Paths): string[] {
  const faults: string[] = [];
  const warnings: string[] = [];
  const refuse = (what: string) => faults.push(what);
  try {
    const snapshot = readPeers(paths);
    const { ground, device } = planOf(ns, paths, snapshot);
    if (device) {
      if (!findDevice(ns, device)) {
        const other = clashing(ns, device);
        if (other)
          refuse(`Cannot make "${device.name}": link "${other.name}" has VNI ${device.vni} and port ${device.port}`);
      }
    }
    if (!ground.underlay.known) warnings.push(unknownSelf(snapshot));
    warnings.push(...compareMtu(snapshot, ground.underlay));
    // Before the first ADD nothing is programmed yet, and nothing is wrong with that.
    const programmed = readStamp(paths);
    if (programmed) {
      compareForwarding(ns, forwarded(snapshot, device)).forEach(refuse);
      // Without it, packets to other nodes' pods would leave under the name of this node wherever pods are masqueraded.
      compareExemption(ns, clusterOf(paths, snapshot)).forEach(refuse);
      (paths.refuse ? faults : warnings).push(...programmed.problems);
    }
  } catch (error) {
    if (!(error instanceof CniError)) throw error;
    refuse(error.message);
  }
  if (faults.length > 0)
    throw new CniError(codes.unavailable, faults[0]!, {
      details: faults.length > 1 ? faults.slice(1).join("; ") : undefined,
    });
  return warnings;
}
