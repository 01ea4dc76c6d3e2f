// Pods through containerd's CRI, as the kubelet runs them; the plugin folder holds the plugins under test and nothing else.
//   TENON_BIN=/usr/lib/cni bun test test/clients      the same with the reference plugins
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Containerd, type PodStatus, type Release, releases, startContainerd } from "../helpers/containerd.ts";
import { ask, startEcho, type Target } from "../helpers/echo.ts";
import { makeNode, type Node, needPrograms, uplink } from "../helpers/node.ts";
import { pluginFolder } from "../helpers/plugin-folder.ts";
import { leftOver, settled, snapshot } from "../helpers/snapshot.ts";

const range = (subnet: string) => [{ subnet }];
const bridge = (...subnets: string[]) => ({
  type: "bridge",
  bridge: "cni0",
  isGateway: true,
  ipam: {
    type: "host-local",
    ranges: subnets.map(range),
    routes: subnets.map((subnet) => ({ dst: subnet.includes(":") ? "::/0" : "0.0.0.0/0" })),
  },
});

/** The bridge, and containerd's own files. */
const allowed = [
  ...settled,
  /^\+ link \{"ifname":"cni0"/,
  /^\+ address cni0 /,
  /^\+ route .*"dev":"cni0"/,
  /^\+ file \/run\/(containerd|nri|runc)\//,
  /^\+ file \/var\/lib\/cni\/results\/$/,
  /^\+ nft \{"map":(?!.*"elem")/,
];

async function serve(node: Node, release: Release, plugins: string, ...chain: object[]): Promise<Containerd> {
  const networks = join(node.dir, "net.d");
  await mkdir(networks);
  const list = { cniVersion: release.cniVersion, name: "pods", plugins: chain };
  await writeFile(join(networks, "10-pods.conflist"), JSON.stringify(list));
  return startContainerd(node, { plugins, networks, release });
}

// Not expect().rejects: it runs the event loop from within itself, and there HTTP/2 streams do not always end.
async function refusal(call: Promise<unknown>): Promise<string> {
  const answer = await call.catch((error) => error);
  if (!(answer instanceof Error)) throw new Error(`Cannot see a refusal: got ${answer}`);
  return answer.message;
}

let plugins: string;
beforeAll(async () => {
  await needPrograms("ping");
  plugins = await pluginFolder("bridge", "host-local", "loopback", "portmap");
});

describe.each(releases)("twelve pods of $name", (release) => {
  let [node, containerd, before, ids, running]: any[] = [];
  const every = <T>(list: T[], work: (item: T, at: number) => Promise<unknown>) => Promise.all(list.map(work));

  /** Each pod reaches the next one; the node reaches each pod, and each pod the node. */
  const pingAll = () =>
    every(running as PodStatus[], async ({ netns, ip }, at) => {
      const next = running[(at + 1) % running.length].ip;
      await node.execAt(netns)("ping", ["-c1", "-W2", next]);
      await node.execAt(netns)("ping", ["-c1", "-W2", "10.1.0.1"]);
      await node.exec("ping", ["-c1", "-W2", ip]);
    });

  beforeAll(async () => {
    node = await makeNode("twelve");
    before = await snapshot(node);
    containerd = await serve(node, release, plugins, bridge("10.1.0.0/16"));
  }, 30_000);
  afterAll(async () => {
    await containerd?.close();
    await node?.close();
  }, 30_000);

  test("started at once get an address each, and reach each other and the node", async () => {
    expect(await containerd.networkProblem()).toBe("");
    ids = await Promise.all(Array.from({ length: 12 }, (_, at) => containerd.runPod(`pod-${at}`)));
    running = await Promise.all(ids.map(containerd.podStatus));
    expect(new Set(running.map(({ ip }: PodStatus) => ip)).size).toBe(12);
    for (const { ready, ip } of running) {
      expect(ready).toBe(true);
      expect(ip).toMatch(/^10\.1\.0\.([2-9]|1\d)$/);
    }
    await pingAll();
  }, 30_000);

  test("run containers that see the pod's address and its loopback", async () => {
    const container = await containerd.runContainer(ids[0]);
    const { stdout } = await containerd.execSync(container, ["ip", "addr", "show", "dev", "eth0"]);
    expect(stdout).toContain(`inet ${running[0].ip}/16`);
    for (const address of ["127.0.0.1", running[1].ip]) {
      expect(await containerd.execSync(container, ["ping", "-c1", "-W2", address])).toMatchObject({ exitCode: 0 });
    }
  }, 30_000);

  test("keep addresses and connections while containerd is killed and started again", async () => {
    await containerd.kill9();
    await pingAll();
    await containerd.restart();
    expect((await containerd.pods()).sort()).toEqual([...ids].sort());
    expect(await Promise.all(ids.map(containerd.podStatus))).toEqual(running);
    const late = await containerd.runPod("late");
    expect(running.map(({ ip }: PodStatus) => ip)).not.toContain((await containerd.podStatus(late)).ip);
    ids.push(late);
  }, 30_000);

  test("stop at once, and again, and leave nothing when removed", async () => {
    await every(ids, containerd.stopPod);
    const stopped = leftOver(before, await snapshot(node), allowed);
    expect(stopped).toEqual([]);
    await every(ids, containerd.stopPod);
    await every(ids, containerd.removePod);
    await every(ids, containerd.removePod); // the kubelet may ask again
    expect(await containerd.pods()).toEqual([]);
    expect(leftOver(before, await snapshot(node), allowed)).toEqual([]);
  }, 30_000);
});

describe.each(releases)("with $name", (release) => {
  test("a pod on two stacks has both addresses and reaches another over both", async () => {
    await using node = await makeNode("dual");
    await using containerd = await serve(node, release, plugins, bridge("10.1.0.0/16", "fd00:1::/64"));
    const [one, other] = await Promise.all(
      ["a", "b"].map((name) => containerd.runPod(name).then(containerd.podStatus)),
    );
    expect(one!.ips.map((ip) => ip.replace(/[23]$/, "X"))).toEqual(["10.1.0.X", "fd00:1::X"]);
    for (const ip of other!.ips) await node.execAt(one!.netns)("ping", ["-c1", "-W2", ip]);
  }, 30_000);

  test("a pod that finds no free address leaves nothing, and the address can be had again", async () => {
    await using node = await makeNode("full");
    const before = await snapshot(node);
    await using containerd = await serve(node, release, plugins, bridge("10.1.0.0/30"));
    const first = await containerd.runPod("first");
    expect((await containerd.podStatus(first)).ip).toBe("10.1.0.2");
    const held = await snapshot(node);
    expect(await refusal(containerd.runPod("second"))).toContain("failed to setup network");
    expect(leftOver(held, await snapshot(node), allowed)).toEqual([]);
    expect(await containerd.pods()).toEqual([first]);
    await containerd.stopPod(first);
    await containerd.removePod(first);
    expect(leftOver(before, await snapshot(node), allowed)).toEqual([]);
    expect((await containerd.podStatus(await containerd.runPod("third"))).ip).toBe("10.1.0.2");
  }, 30_000);

  test("a pod's ports are published as the kubelet asks for them, and a port that is taken is refused by its holder's name", async () => {
    await using node = await makeNode("ports", { uplink: true });
    const before = await snapshot(node);
    const portmap = { type: "portmap", capabilities: { portMappings: true } };
    await using containerd = await serve(node, release, plugins, bridge("10.1.0.0/16"), portmap);
    const [tcp, udp] = [0, 1];
    const portMappings = [
      { protocol: tcp, containerPort: 80, hostPort: 8080 },
      { protocol: udp, containerPort: 80, hostPort: 8080, hostIp: uplink.node[0] },
      { protocol: tcp, containerPort: 81 }, // named, not published
    ];
    const pod = await containerd.runPod("a", { portMappings });
    const { netns } = await containerd.podStatus(pod);
    const echo = await startEcho(node, { path: netns }, "pod", [80]);
    const targets = [
      ["tcp", uplink.node[0], 8080],
      ["udp", uplink.node[0], 8080],
    ] satisfies Target[];
    expect(await ask(node.outside!, targets)).toEqual([`pod ${uplink.outside[0]}`, `pod ${uplink.outside[0]}`]);
    expect(await ask(node, [["tcp", "127.0.0.1", 8080]])).toEqual(["pod 10.1.0.1"]);
    if (!process.env.TENON_BIN?.startsWith("/usr/lib"))
      expect(await refusal(containerd.runPod("b", { portMappings }))).toContain(`attachment "pods/${pod}/eth0" has it`);
    await echo.stop();
    await containerd.stopPod(pod);
    expect(await ask(node, targets)).toEqual(["ECONNREFUSED", "ECONNREFUSED"]);
    await containerd.stopPod(pod);
    await containerd.removePod(pod);
    expect(leftOver(before, await snapshot(node), allowed)).toEqual([]);
  }, 30_000);

  test("a pod that a later plugin of the list refuses leaves nothing", async () => {
    await using node = await makeNode("refused");
    const before = await snapshot(node);
    const folder = join(node.dir, "bin");
    await mkdir(folder);
    for (const name of ["bridge", "host-local", "loopback"]) await symlink(join(plugins, name), join(folder, name));
    const words = JSON.stringify({ cniVersion: release.cniVersion, code: 100, msg: "refused by the test" });
    await writeFile(
      join(folder, "refuse"),
      `#!/bin/sh\ncat > /dev/null\n[ $CNI_COMMAND = ADD ] || exit 0\necho '${words}'\nexit 1\n`,
      { mode: 0o755 },
    );
    await using containerd = await serve(node, release, folder, bridge("10.1.0.0/16"), { type: "refuse" });
    expect(await refusal(containerd.runPod("a"))).toContain("refused by the test");
    expect(await containerd.pods()).toEqual([]);
    expect(leftOver(before, await snapshot(node), allowed)).toEqual([]);
  }, 30_000);
});
