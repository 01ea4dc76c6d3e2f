// The node's agent: its networks, the tasks beside them, and what it answers to whoever asks how it is.
import { host } from "../../lib/netns/netns.ts";
import { selfOf } from "../../lib/peers/snapshot.ts";
import { serve } from "./http.ts";
import { type Log, makeLog } from "./log.ts";
import { makeMetrics } from "./metrics.ts";
import { Network } from "./network.ts";
import { poolsOf } from "./pools.ts";
import type { Settings } from "./settings.ts";
import { sourceOf } from "./source.ts";
import type { Ground, Task } from "./task.ts";

export interface Agent {
  /** The port that it answers on; 0 if it does not. */
  port: number;
  /** The templates are read anew. */
  reload(): void;
  /** Ends. The kernel, the snapshots and the conflists stay as they are. */
  stop(): Promise<void>;
}

/** Starts the agent. `tasksOf` makes what runs beside the networks. */
export async function startAgent(
  settings: Settings,
  tasksOf: (ground: Ground, settings: Settings) => Task[] = () => [],
  log: Log = makeLog(),
): Promise<Agent> {
  const metrics = makeMetrics();
  const { node, intervals } = settings;
  const networks: Network[] = [];
  for (const one of settings.networks) {
    const source = await sourceOf(one, settings, log);
    networks.push(new Network(one, source, { node, intervals, ns: host, metrics, log }));
  }
  const ground: Ground = {
    networks: () => networks,
    repair: (name) => networks.find((network) => network.name === name)?.repair(),
    metrics,
    log,
  };
  const refresh = () => {
    // Of subnets that the node no longer has.
    for (const gauge of [metrics.poolSize, metrics.poolFree]) gauge.reset();
    for (const { name, snapshot } of networks) {
      if (!snapshot) continue;
      for (const { subnet, size, free } of poolsOf(name, selfOf(snapshot).subnets)) {
        metrics.poolSize.set({ network: name, subnet }, size);
        metrics.poolFree.set({ network: name, subnet }, free);
      }
    }
  };
  const missing = () => networks.flatMap(({ name, missing }) => (missing === undefined ? [] : [`${name}: ${missing}`]));
  const server =
    settings.metrics === "" ? undefined : serve(settings.metrics, { missing, refresh, registry: metrics.registry });
  const tasks = tasksOf(ground, settings);
  for (const network of networks) await network.start();
  for (const task of tasks) await task.start();
  return {
    port: server?.port ?? 0,
    reload: () => {
      for (const network of networks) network.reload();
    },
    stop: async () => {
      await Promise.all([...tasks, ...networks].map((one) => one.stop()));
      await server?.stop();
    },
  };
}
