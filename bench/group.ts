// The inside of one measuring node: runs the group named on the command line and prints its findings as JSON.
// Started by run.ts in namespaces of its own; of no use alone.
import { measureAcross } from "./cases/across.ts";
import { measureBridge } from "./cases/bridge.ts";
import { measureChain } from "./cases/chain.ts";
import { measureHostLocal } from "./cases/host-local.ts";
import { measureMappings } from "./cases/mappings.ts";
import { measureMasquerade } from "./cases/masquerade.ts";
import { measureParallel } from "./cases/parallel.ts";
import { measurePeers } from "./cases/peers.ts";
import { measurePorts } from "./cases/ports.ts";
import { measureStart } from "./cases/start.ts";
import type { Findings } from "./measure.ts";
import { type Node, type Options, openNode } from "./node.ts";

/** The groups in the order of the report, each with the namespaces for pods that a side needs. */
export const groups: Record<string, { measure: (node: Node) => Findings; pods: number }> = {
  bridge: { measure: measureBridge, pods: 30 },
  masquerade: { measure: measureMasquerade, pods: 30 },
  ports: { measure: measurePorts, pods: 30 },
  chain: { measure: measureChain, pods: 30 },
  mappings: { measure: measureMappings, pods: 0 },
  peers: { measure: measurePeers, pods: 0 },
  across: { measure: measureAcross, pods: 0 },
  parallel: { measure: measureParallel, pods: 50 },
  "host-local": { measure: measureHostLocal, pods: 0 },
  start: { measure: measureStart, pods: 1 },
};

if (import.meta.main) {
  const [name, options] = process.argv.slice(2);
  const { measure, pods } = groups[name!]!;
  process.stdout.write(JSON.stringify(measure(openNode(JSON.parse(options!) as Options, pods))));
}
