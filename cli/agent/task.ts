// What the agent runs besides its networks (self-healing, the sweep), and what it lends to them.
import type { Paths } from "../../lib/peers/conf.ts";
import type { Snapshot } from "../../lib/peers/snapshot.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";

/** Something that runs as long as the agent does. Nothing in the kernel may depend on its being stopped in order. */
export interface Task {
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** A network as it stands: what was programmed last, and by which configuration. */
export interface NetworkState {
  name: string;
  /** The entries of its conflist, placeholders filled in; none before the node has its subnets. */
  plugins: readonly Record<string, unknown>[];
  /** What leads to other nodes: of the entries `vxlan` and `routes`. */
  paths: readonly Paths[];
  snapshot?: Snapshot;
}

/** What a task may use. */
export interface Ground {
  networks(): readonly NetworkState[];
  /** Compares the network's paths with the kernel, brings back what is missing, counts it. Never throws. */
  repair(network: string): void;
  metrics: Metrics;
  log: Log;
}
