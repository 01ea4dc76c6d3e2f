// Containers that podman attached by the reference; then its plugin folder holds ours, and podman removes them.
import { expect, test } from "bun:test";
import { ask, startEcho } from "../helpers/echo.ts";
import { makeNode, uplink } from "../helpers/node.ts";
import { ours, reference } from "../helpers/plugin.ts";
import { startPodman } from "../helpers/podman.ts";
import { leftOver, settled, snapshot } from "../helpers/snapshot.ts";
import { left } from "../helpers/upgrade.ts";

test("podman removes with ours what it made with the reference, and nothing of it is left", async () => {
  await using node = await makeNode("swap", { uplink: true });
  const plugins = `${node.dir}/plugins`;
  await node.exec("sh", ["-ec", `mkdir ${plugins}; ln -s ${reference}/* ${plugins}`]);
  await using podman = await startPodman(node, { plugins });
  const start = await snapshot(node);
  await podman.createNetwork("blue", "--subnet", "10.130.1.0/24");
  await podman.run("old", "--network", "blue", "--publish", "8080:80");
  await podman.run("stays", "--network", "blue", "--publish", "8081:80");
  await node.exec("sh", ["-ec", `rm ${plugins}/*; ln -s ${ours}/* ${plugins}`]);
  await podman.run("new", "--network", "blue", "--publish", "8082:80");
  const before = (await node.exec("iptables-save", [])).stdout;
  expect(before).toContain("--dports 8080");
  await podman.call("rm", "--force", "--time", "0", "old");
  expect((await node.exec("iptables-save", [])).stdout).not.toContain("--dports 8080");

  const path = (await podman.call("inspect", "stays", "--format", "{{.NetworkSettings.SandboxKey}}")).stdout;
  const server = await startEcho(node, { path }, "stays", [80]);
  const asked = await ask(node.outside!, [
    ["tcp", uplink.node[0], 8081],
    ["tcp", uplink.node[0], 8080],
  ]);
  expect(asked).toEqual([`stays ${uplink.outside[0]}`, "ECONNREFUSED"]);
  await server.stop();
  await podman.call("rm", "--force", "--time", "0", "--all");
  await podman.call("network", "rm", "blue");
  const files = /^\+ file \/(run\/(containers|libpod|runc|crun|lock|secrets)|var\/lib\/cni\/results\/$)/;
  const elements = /^\+ nft \{"(map":(?!.*"elem")|rule":.*"table":"tenon")/;
  expect(leftOver(start, await snapshot(node), [...settled, ...left, files, elements, /fe80::/])).toEqual([]);
}, 30_000);
