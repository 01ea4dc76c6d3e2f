// Containers through podman's CNI backend, which speaks 0.4.0 and gives fixed addresses and MACs through CNI_ARGS only.
//   TENON_BIN=/usr/lib/cni bun test test/clients      the same with the reference plugins
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { ask, startEcho, type Target } from "../helpers/echo.ts";
import { makeNode, type Node, uplink } from "../helpers/node.ts";
import { pluginFolder } from "../helpers/plugin-folder.ts";
import { type Podman, startPodman } from "../helpers/podman.ts";
import { leftOver, settled, snapshot } from "../helpers/snapshot.ts";

/** Podman's own files, and what is left by the reference's firewall and tuning where they are in the folder. */
const allowed = [
  ...settled,
  /^\+ file \/run\/(containers|libpod|runc|crun|lock|xtables\.lock|secrets)/,
  /^\+ file \/var\/lib\/cni\/results\/$/,
  /^\+ file \/run\/cni\/(tuning\/)?$/,
  /^\+ nft \{"map":(?!.*"elem")/,
  /^\+ nft \{"rule":.*"chain":"(FORWARD|CNI-FORWARD)".*"target":"CNI-(FORWARD|ADMIN)"/,
];

let [node, podman, plugins, before]: [Node, Podman, string, string[]] = [] as any;
beforeAll(async () => {
  plugins = await pluginFolder("bridge", "host-local", "loopback", "portmap");
  node = await makeNode("podman", { uplink: true });
  podman = await startPodman(node, { plugins });
  before = await snapshot(node);
}, 30_000);
afterAll(async () => {
  await podman?.close();
  await node?.close();
}, 30_000);

test("every plugin tells its versions the way podman asks", async () => {
  const env = { CNI_COMMAND: "VERSION", CNI_NETNS: "dummy", CNI_IFNAME: "dummy", CNI_PATH: "dummy" };
  for (const plugin of ["bridge", "host-local"]) {
    const { stdout } = await node.exec(join(plugins, plugin), [], { env, input: '{"cniVersion":"1.0.0"}' });
    expect(JSON.parse(stdout).supportedVersions).toEqual(expect.arrayContaining(["0.4.0", "1.0.0"]));
  }
});

test("podman networks give containers fixed and free addresses, and paths to each other and outside", async () => {
  await podman.createNetwork("blue", "--label", "colour=blue", "--subnet", "10.130.1.0/24");
  await podman.createNetwork("green", "--ipv6", "--subnet", "10.130.2.0/24", "--subnet", "fd00:130:2::/64");
  const { stdout, stderr } = await podman.call("network", "ls", "--format", "{{.Name}}");
  expect([stdout.split("\n").sort(), stderr]).toEqual([["blue", "green", "podman"], ""]);

  await podman.run("fixed", "--network", "blue", "--ip", "10.130.1.77", "--mac-address", "02:11:22:33:44:55");
  await podman.run("free", "--network", "blue");
  await podman.run(
    "both",
    "--network",
    "blue:ip=10.130.1.200",
    "--network",
    "green:ip=10.130.2.9,mac=02:11:22:33:44:66",
  );
  await podman.run("six", "--network", "green", "--ip6", "fd00:130:2::66");
  const [fixed, free, both, six] = await Promise.all(["fixed", "free", "both", "six"].map(podman.networks));
  expect(fixed!.blue).toMatchObject({ IPAddress: "10.130.1.77", MacAddress: "02:11:22:33:44:55" });
  expect(free!.blue!.IPAddress).toMatch(/^10\.130\.1\.([2-9]|\d\d+)$/);
  expect(both!.blue).toMatchObject({ IPAddress: "10.130.1.200" });
  expect(both!.green).toMatchObject({ IPAddress: "10.130.2.9", MacAddress: "02:11:22:33:44:66" });
  expect(six!.green).toMatchObject({ GlobalIPv6Address: "fd00:130:2::66" });
  const { stdout: link } = await podman.exec("fixed", "ip", "addr", "show", "dev", "eth0");
  expect(link).toContain("02:11:22:33:44:55");
  expect(link).toContain("inet 10.130.1.77/24");

  const ways = [
    ["fixed", free!.blue!.IPAddress],
    ["free", "10.130.1.77"],
    ["both", "10.130.1.77"],
    ["six", "10.130.2.9"],
    ["both", "fd00:130:2::66"],
    ["fixed", uplink.outside[0]],
    ["six", uplink.outside[1]],
  ];
  for (const [from, to] of ways) await podman.exec(from!, "ping", "-c1", "-W2", to!);
}, 30_000);

test("a fixed address is refused while another container has it, and given again afterwards", async () => {
  const late = () => podman.run("late", "--network", "blue", "--ip", "10.130.1.77");
  const held = await snapshot(node);
  expect(String(await late().catch((error) => error))).toContain("10.130.1.77");
  await podman.call("rm", "--force", "--ignore", "late");
  expect(leftOver(held, await snapshot(node), allowed)).toEqual([]);
  await podman.call("rm", "--force", "--time", "0", "fixed");
  await late();
  expect((await podman.networks("late")).blue!.IPAddress).toBe("10.130.1.77");
}, 30_000);

test("published ports lead into a container from outside, over its network's addresses", async () => {
  const args = ["--network", "green", "--publish", "8080:80", "--publish", `${uplink.node[0]}:8081:80/udp`];
  await podman.run("web", ...args);
  const { stdout: netns } = await podman.call("inspect", "web", "--format", "{{.NetworkSettings.SandboxKey}}");
  await startEcho(node, { path: netns.trim() }, "web", [80]);
  const targets: Target[] = [
    ["tcp", uplink.node[0], 8080],
    ["tcp", uplink.node[1], 8080],
    ["udp", uplink.node[0], 8081],
    ["udp", uplink.node[0], 8080],
  ];
  const [four, six] = uplink.outside;
  expect(await ask(node.outside!, targets)).toEqual([`web ${four}`, `web ${six}`, `web ${four}`, "ECONNREFUSED"]);
  await podman.call("rm", "--force", "--time", "0", "web");
  expect(await ask(node.outside!, targets)).toEqual(targets.map(() => "ECONNREFUSED"));
}, 30_000);

test("removed containers and networks leave nothing", async () => {
  await podman.call("rm", "--force", "--time", "0", "--all");
  await podman.call("network", "rm", "blue", "green");
  expect(leftOver(before, await snapshot(node), allowed)).toEqual([]);
}, 30_000);
