import { expect, test } from "bun:test";
import { join } from "node:path";
import { configure, replace, startAgent, until } from "../../helpers/agent.ts";
import { makeNode } from "../../helpers/node.ts";

test("sweeps are counted, and one that is refused says why", async () => {
  await using node = await makeNode("sweeping", { uplink: true });
  const file = join(node.dir, "peers.json");
  await replace(file, JSON.stringify([{ name: "n1", subnets: ["10.244.1.0/24"], addresses: ["192.0.2.1"] }]));
  const source = `{type: file, path: ${file}}`;
  const config = await configure(node, { node: "n1", source, settings: { intervals: { sweep: 0.5 } } });
  await using agent = await startAgent(node, config);
  await agent.ready();
  await until("it sweeps again", async () => ((await agent.figure('tenon_sweeps_total{result="refused"}')) ?? 0) > 1);
  expect(agent.said()).toContain("Nothing is swept: ");
  expect(await agent.figure("tenon_sweep_released_total")).toBe(0);
});

test("the runtimes of the configuration are asked, and no others", async () => {
  await using node = await makeNode("sweeping-named", { uplink: true });
  const file = join(node.dir, "peers.json");
  await replace(file, JSON.stringify([{ name: "n1", subnets: ["10.244.1.0/24"], addresses: ["192.0.2.1"] }]));
  const source = `{type: file, path: ${file}}`;
  const runtimes = [{ name: "mine", cache: join(node.dir, "results"), socket: join(node.dir, "mine.sock") }];
  const settings = { intervals: { sweep: 0.5 }, runtimes, anchor: false };
  await using agent = await startAgent(node, await configure(node, { node: "n1", source, settings }));
  await until("it is refused", () => agent.said().includes("Nothing is swept: "));
  expect(agent.said()).toMatch(/Cannot read \S+\/results: .*; mine: Cannot ask \S+\/mine.sock: /);
  // Addresses in pods were asked for, by another process.
  expect(agent.said()).not.toContain("in use in pods");
  // Without the anchor there is no table of its own.
  await agent.ready();
  expect((await node.exec("nft", ["list", "tables"])).stdout).not.toContain("tenon-agent");
});
