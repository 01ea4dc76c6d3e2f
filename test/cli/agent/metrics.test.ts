import { expect, test } from "bun:test";
import { makeMetrics } from "../../../cli/agent/metrics.ts";

test("every figure begins with tenon_, and tasks may add theirs", async () => {
  const { registry, repairs, programming } = makeMetrics();
  repairs.inc({ network: "pods", kind: "route" }, 2);
  programming.observe({ network: "pods" }, 0.004);
  const text = await registry.metrics();
  const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!);
  expect(names.length).toBeGreaterThan(10);
  expect(names.filter((name) => !name.startsWith("tenon_"))).toEqual([]);
  expect(text).toContain('tenon_drift_repairs_total{network="pods",kind="route"} 2');
  expect(text).toContain('tenon_programming_seconds_bucket{le="0.005",network="pods"} 1');
  expect(text).toMatch(/^tenon_agent_resident_bytes \d+$/m);
});
