// What containerd and podman remember of their pods is enough to bring back what was taken from these, and to tell the living
// from the dead.
import { expect, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { releases, startContainerd } from "../helpers/containerd.ts";
import { ask, startEcho, type Target } from "../helpers/echo.ts";
import { startHealer, until } from "../helpers/healing.ts";
import { makeNode, type Node, uplink } from "../helpers/node.ts";
import { pluginFolder } from "../helpers/plugin-folder.ts";
import { startPodman } from "../helpers/podman.ts";
import { leftOver, snapshot } from "../helpers/snapshot.ts";

const main = join(import.meta.dir, "../../cli/main.ts");
const sweep = join(import.meta.dir, "../helpers/sweep-process.ts");
const repair = (node: Node) => node.exec(process.execPath, ["run", main, "repair"], { reject: false });
const port: Target = ["tcp", uplink.node[0], 8080];
/** What runtimes write meanwhile is their own affair. */
const theirs = [/ file \/run\/(containerd|runc|libpod|containers|crun|lock|secrets)/, / file \/run\/tenon\//];

/** One look of the sweep, and what it says of each label. */
async function lookAt(node: Node, runtime: object, plugins: string) {
  const options = JSON.stringify({ runtimes: [runtime], plugins: [plugins] });
  const { stdout } = await node.exec(process.execPath, ["run", sweep, options, "0", "dry"]);
  const { refusals, suspects } = JSON.parse(stdout).report;
  return { refusals, suspects } as { refusals: string[]; suspects: { label: string; alive?: string }[] };
}

test("pods of containerd: a flushed ruleset and a lost bridge are repaired, by hand and by a healer", async () => {
  await using node = await makeNode("heal-containerd", { uplink: true });
  const plugins = await pluginFolder("bridge", "host-local", "loopback", "portmap", "firewall");
  const networks = join(node.dir, "net.d");
  await mkdir(networks);
  const bridge = {
    type: "bridge",
    bridge: "cni0",
    isGateway: true,
    ipMasq: true,
    ipam: { type: "host-local", ranges: [[{ subnet: "10.1.0.0/16" }]], routes: [{ dst: "0.0.0.0/0" }] },
  };
  const portmap = { type: "portmap", capabilities: { portMappings: true } };
  const list = { cniVersion: "1.0.0", name: "pods", plugins: [bridge, portmap, { type: "firewall" }] };
  await writeFile(join(networks, "10-pods.conflist"), JSON.stringify(list));
  await using containerd = await startContainerd(node, { plugins, networks, release: releases[0]! });
  const pod = await containerd.runPod("a", { portMappings: [{ protocol: 0, containerPort: 80, hostPort: 8080 }] });
  await containerd.runPod("b");
  const { netns } = await containerd.podStatus(pod);
  await startEcho(node, { path: netns }, "pod", [80]);
  const answer = [`pod ${uplink.outside[0]}`];
  expect(await ask(node.outside!, [port])).toEqual(answer);
  const before = await snapshot(node);
  const losses = "nft flush ruleset; ip link delete cni0";

  await node.exec("bash", ["-ec", losses]);
  expect(await ask(node.outside!, [port])).not.toEqual(answer);
  const { exitCode, stdout } = await repair(node);
  expect([exitCode, stdout.match(/^(bridge|port|address|masquerade|published ports|firewall) /gm)?.length]).toEqual([
    0, 9,
  ]);
  expect(await ask(node.outside!, [port])).toEqual(answer);
  expect(leftOver(before, await snapshot(node), theirs)).toEqual([]);

  await using healer = await startHealer(node);
  await node.exec("bash", ["-ec", losses]);
  await until(
    async () => leftOver(before, await snapshot(node), theirs),
    (lines) => lines.length === 0,
  );
  expect(await ask(node.outside!, [port])).toEqual(answer);

  const runtime = { name: "containerd", cache: "/var/lib/cni/results", socket: join(node.dir, "containerd/sock") };
  const { refusals, suspects } = await lookAt(node, runtime, plugins);
  expect(refusals).toEqual([]);
  expect(suspects.map(({ alive }) => alive)).toEqual(suspects.map(() => "its runtime remembers it"));
  expect(suspects.map(({ label }) => label)).toContain(`pods/${pod}/eth0`);

  // What its own plugins take down stays down.
  await containerd.stopPod(pod);
  await containerd.removePod(pod);
  await Bun.sleep(200);
  expect((await snapshot(node)).filter((line) => line.includes(pod))).toEqual([]);
  expect((await healer.counters()).failures).toBe(0);
}, 60_000);

test("containers of podman: the same", async () => {
  await using node = await makeNode("heal-podman", { uplink: true });
  const plugins = await pluginFolder("bridge", "host-local", "portmap", "firewall", "tuning");
  const podman = await startPodman(node, { plugins });
  await podman.createNetwork("green", "--subnet", "10.130.2.0/24");
  await podman.run("web", "--network", "green", "--publish", "8080:80");
  const { stdout: netns } = await podman.call("inspect", "web", "--format", "{{.NetworkSettings.SandboxKey}}");
  await startEcho(node, { path: netns.trim() }, "web", [80]);
  const answer = [`web ${uplink.outside[0]}`];
  expect(await ask(node.outside!, [port])).toEqual(answer);
  const before = await snapshot(node);
  await node.exec("bash", ["-ec", "nft flush ruleset; ip link delete cni-podman1"]);
  expect(await repair(node)).toMatchObject({ exitCode: 0 });
  expect(leftOver(before, await snapshot(node), theirs)).toEqual([]);
  expect(await ask(node.outside!, [port])).toEqual(answer);
  const storage = join(node.dir, "podman/storage");
  const runtime = { name: "podman", cache: "/var/lib/cni/results", storage };
  const { refusals, suspects } = await lookAt(node, runtime, plugins);
  expect([refusals, suspects.map(({ alive }) => alive)]).toEqual([[], ["its runtime remembers it"]]);
  await podman.close();
  expect((await lookAt(node, runtime, plugins)).refusals).toContain("no runtime knows of any container");
}, 60_000);
