// The paths to other nodes, called in a process of a node's own: their files have fixed places, which are the node's there.
//   await onPeers(node, entry, [["publish", snapshot], ["shell", "ip link del tenon.1"], ["compare", snapshot]])
// One answer for each step; what a step throws is its answer too: { code, message }.
import { CniError } from "../../lib/cni/errors.ts";
import { host } from "../../lib/netns/netns.ts";
import { assertPaths, compare } from "../../lib/peers/compare.ts";
import { type Paths, pathsOf } from "../../lib/peers/conf.ts";
import { ensureProgrammed, programme, publish, repair, repairIfAny, withdraw } from "../../lib/peers/network.ts";
import { readPeers } from "../../lib/peers/plan.ts";
import type { Snapshot } from "../../lib/peers/snapshot.ts";
import { readStamp, removeStamp, stampedNetworks, stampOf } from "../../lib/peers/stamp.ts";
import type { Node } from "./node.ts";

const verbs = {
  publish: (paths: Paths, now: Snapshot, before?: Snapshot) => publish(host, paths, now, before),
  programme: (paths: Paths, now: Snapshot, before?: Snapshot) => programme(host, paths, now, before),
  repair: (paths: Paths) => repair(host, paths),
  repairIfAny: (paths: Paths) => repairIfAny(host, paths),
  ensure: (paths: Paths) => ensureProgrammed(host, paths),
  compare: (paths: Paths, now: Snapshot) => compare(host, paths, now),
  assert: (paths: Paths) => assertPaths(host, paths),
  read: (paths: Paths) => readPeers(paths),
  withdraw: (paths: Paths) => withdraw(host, paths),
  stamp: (paths: Paths) => readStamp(paths),
  conf: (paths: Paths) => stampOf(paths.network)?.paths,
  unstamp: (paths: Paths) => removeStamp(paths.network),
  networks: () => stampedNetworks(),
  shell: (_: Paths, line: string) => Bun.spawnSync(["bash", "-ec", line]).stdout.toString(),
};

export type Step = [verb: keyof typeof verbs, ...rest: any[]];

/** Runs steps on a node, for one network and its plugin entry. */
export async function onPeers(node: Node, entry: object, steps: Step[], network = "pods"): Promise<any[]> {
  const input = JSON.stringify({ entry, steps, network });
  const { stdout } = await node.exec(process.execPath, ["run", import.meta.filename], { input, timeout: 60_000 });
  return JSON.parse(stdout);
}

if (import.meta.main) {
  const { entry, steps, network } = JSON.parse(await Bun.stdin.text());
  const paths = pathsOf(network, entry)!;
  const answers = (steps as Step[]).map(([verb, ...rest]) => {
    try {
      return (verbs[verb] as (...all: any[]) => unknown)(paths, ...rest) ?? null;
    } catch (error) {
      if (!(error instanceof CniError)) throw error;
      return { code: error.code, message: error.message };
    }
  });
  await Bun.write(Bun.stdout, JSON.stringify(answers));
}
