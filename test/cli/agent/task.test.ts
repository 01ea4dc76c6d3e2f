import { expect, test } from "bun:test";
import { startAgent } from "../../../cli/agent/agent.ts";
import { makeLog } from "../../../cli/agent/log.ts";
import type { Settings } from "../../../cli/agent/settings.ts";
import type { Ground, Task } from "../../../cli/agent/task.ts";

test("tasks run as long as the agent does, on its ground", async () => {
  const steps: string[] = [];
  let ground: Ground | undefined;
  const task: Task = {
    start: async () => void steps.push("start"),
    stop: async () => void steps.push("stop"),
  };
  const settings: Settings = {
    node: "n1",
    state: "/nowhere",
    metrics: "127.0.0.1:0",
    results: ["/nowhere"],
    plugins: [],
    anchor: true,
    intervals: { compare: 300, sweep: 900, settle: 0 },
    networks: [],
  };
  const tasksOf = (given: Ground) => {
    ground = given;
    return [task];
  };
  const agent = await startAgent(
    settings,
    tasksOf,
    makeLog(() => {}),
  );
  expect(steps).toEqual(["start"]);
  ground!.metrics.swept.inc(3);
  expect(ground!.networks()).toEqual([]);
  ground!.repair("none");
  const text = await (await fetch(`http://127.0.0.1:${agent.port}/metrics`)).text();
  expect(text).toContain("tenon_sweep_released_total 3");
  await agent.stop();
  expect(steps).toEqual(["start", "stop"]);
});
