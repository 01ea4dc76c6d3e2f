// The figures of the agent, in the format of Prometheus. All names begin with tenon_.
import { Counter, Gauge, Histogram, Registry } from "prom-client";

export type Metrics = ReturnType<typeof makeMetrics>;

/** The figures, and the registry that they are in; tasks may add their own to it. */
export function makeMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, labelNames: string[] = ["network"]) =>
    new Gauge({ name, help, labelNames, registers });
  const counter = (name: string, help: string, labelNames: string[] = ["network"]) =>
    new Counter({ name, help, labelNames, registers });
  new Gauge({
    name: "tenon_agent_resident_bytes",
    help: "Memory that the agent has resident",
    registers,
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  return {
    registry,
    ready: gauge("tenon_network_ready", "1 when the node's subnets, the paths and the conflist are in place"),
    peers: gauge("tenon_peers", "Other nodes of the network"),
    unreachable: gauge("tenon_peer_problems", "What keeps single nodes from being reached, counted"),
    connected: gauge("tenon_source_connected", "1 while the source of the nodes answers"),
    events: counter("tenon_source_lists_total", "Lists of nodes taken from the source"),
    refused: counter("tenon_source_refusals_total", "Lists and records of the source that could not be used"),
    programming: new Histogram({
      name: "tenon_programming_seconds",
      help: "From a list of nodes at hand to the kernel being told",
      labelNames: ["network"],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
      registers,
    }),
    failures: counter("tenon_programming_failures_total", "Programming that failed and is tried again"),
    changes: counter("tenon_programming_changes_total", "What was changed in the kernel", ["network", "change"]),
    repairs: counter("tenon_drift_repairs_total", "What others had taken away or changed, put back", [
      "network",
      "kind",
    ]),
    poolSize: gauge("tenon_pool_addresses", "Addresses that the node's subnets hold for pods", ["network", "subnet"]),
    poolFree: gauge("tenon_pool_addresses_free", "Those of them that no pod has", ["network", "subnet"]),
    sweeps: counter("tenon_sweeps_total", "Looks for attachments of pods that are gone", ["result"]),
    swept: counter("tenon_sweep_released_total", "Attachments of pods that are gone, released", []),
  };
}
