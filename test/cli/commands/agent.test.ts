import { expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configure, startAgent } from "../../helpers/agent.ts";
import { makeNode } from "../../helpers/node.ts";
import { tenon } from "../../helpers/tenon.ts";

test("a configuration is checked without starting anything", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tenon-check-"));
  try {
    const file = join(folder, "agent.yaml");
    const network = "source: { type: file, path: /p }, conflist: { template: /t, to: /c.conflist }";
    await writeFile(file, `networks: [{ name: pods, ${network} }]`);
    expect(await tenon("agent", "--config", file, "--check")).toMatchObject({ exitCode: 0, stderr: "" });
    await writeFile(file, `networks: [{ name: "", ${network} }]`);
    const { exitCode, stderr } = await tenon("agent", "--config", file, "--check");
    expect(exitCode).toBe(1);
    expect(stderr).toStartWith('Cannot use networks[0].name "": must begin with a letter');
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("a configuration that is not there is named", async () => {
  const { exitCode, stderr } = await tenon("agent", "--config", "/no/such.yaml");
  expect([exitCode, stderr.split(":")[0]]).toEqual([1, 'Cannot read "/no/such.yaml"']);
});

test("SIGHUP while it starts does not end it", async () => {
  await using node = await makeNode("hangup", { uplink: true });
  const peers = join(node.dir, "peers.json");
  await writeFile(peers, '[{"name":"n1","subnets":["10.244.1.0/24"],"addresses":["192.0.2.1"]}]');
  const config = await configure(node, { node: "n1", source: `{type: file, path: ${peers}}` });
  const pipe = join(node.dir, "pipe.yaml");
  await node.exec("mkfifo", [pipe]);
  await using agent = await startAgent(node, pipe);
  // Opened when the agent reads it.
  await node.exec("bash", ["-c", `exec 3>${pipe}; kill -HUP ${agent.pid}; cat ${config} >&3`]);
  await agent.ready();
});
