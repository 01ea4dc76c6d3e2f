import { expect, test } from "bun:test";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { configure, replace, startAgent, until } from "../../helpers/agent.ts";
import { makeNode } from "../../helpers/node.ts";

test("a path that somebody takes away is back, and counted", async () => {
  await using node = await makeNode("healing", { uplink: true });
  const file = join(node.dir, "peers.json");
  const node1 = { name: "n1", subnets: ["10.244.1.0/24"], addresses: ["192.0.2.1"] };
  const node2 = { name: "n2", subnets: ["10.244.2.0/24"], addresses: ["192.0.2.2"] };
  await replace(file, JSON.stringify([node1, node2]));
  const config = await configure(node, { node: "n1", source: `{type: file, path: ${file}}` });
  await using agent = await startAgent(node, config);
  await agent.ready();
  const repairs = 'tenon_drift_repairs_total{network="pods",kind="path"}';
  expect(await agent.figure(repairs)).toBeUndefined();
  await node.exec("ip", ["route", "del", "10.244.2.0/24"]);
  await until("it is back", async () => (await node.exec("ip", ["route"])).stdout.includes("10.244.2.0/24 via"));
  await until("it is counted", async () => (await agent.figure(repairs)) === 1);
  // The whole device, and all that was on it.
  await node.exec("ip", ["link", "del", "tenon.7"]);
  await until("it is back", async () => (await node.exec("ip", ["route"])).stdout.includes("10.244.2.0/24 via"));
  const { stdout } = await node.exec("bridge", ["fdb", "show", "dev", "tenon.7"]);
  expect(stdout).toContain("dst 192.0.2.2");

  // Begun anew while its source is gone, it still knows what there was.
  await agent.signal("SIGKILL");
  await agent.ended();
  await rm(file);
  await using again = await startAgent(node, config);
  await until("it answers", async () => (await again.get("/healthz")).status === 200);
  await node.exec("ip", ["route", "del", "10.244.2.0/24"]);
  await until("it is back", async () => (await node.exec("ip", ["route"])).stdout.includes("10.244.2.0/24 via"));
  expect((await again.get("/readyz")).status).toBe(503);
});

test("a snapshot's file and a stamp that somebody removes or cuts short are written again", async () => {
  await using node = await makeNode("healing-files", { uplink: true });
  const file = join(node.dir, "peers.json");
  const node1 = { name: "n1", subnets: ["10.244.1.0/24"], addresses: ["192.0.2.1"] };
  const node2 = { name: "n2", subnets: ["10.244.2.0/24"], addresses: ["192.0.2.2"] };
  await replace(file, JSON.stringify([node1, node2]));
  const settings = { intervals: { compare: 1 } };
  const config = await configure(node, { node: "n1", source: `{type: file, path: ${file}}`, settings });
  await using agent = await startAgent(node, config);
  await agent.ready();
  const run = (command: string) => node.exec("bash", ["-ec", `cd /run/tenon/peers; ${command}`], { reject: false });
  const stamp = async () => (await run("cat pods.stamp")).stdout;
  const snapshot = (await run("cat pods.json")).stdout;
  // Who dies while it programmes leaves no stamp; what goes then is missed at once.
  await run("rm pods.stamp; ip route flush proto 116");
  await until("the routes are back", async () =>
    (await node.exec("ip", ["route"])).stdout.includes("10.244.2.0/24 via"),
  );
  for (const loss of ["rm pods.stamp", ": > pods.stamp", ": > pods.json", "rm pods.json", "touch pods.json"]) {
    const before = await stamp();
    await run(loss);
    await until(`all is back after ${loss}`, async () => {
      const { stdout } = await run("cat pods.json");
      return stdout === snapshot && (await stamp()) !== before;
    });
  }
  const said = agent.said();
  await agent.signal("SIGTERM");
  expect(await agent.ended()).toBe(0);
  expect(said).not.toContain("cannot");
}, 60_000);
