// Helpers act on the namespace of their process, so each test runs a process of its own in a node.
import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { makeNode, type Node } from "../../helpers/node.ts";

const source = resolve(import.meta.dir, "../../../lib/ip/unplug.ts");

async function run(node: Node, script: string): Promise<any> {
  const { stdout } = await node.exec(process.execPath, ["-e", `import * as unplug from "${source}";\n${script}`]);
  return JSON.parse(stdout);
}

const unplug = (node: Node, name: string) => run(node, `console.log(JSON.stringify(unplug.unplugLink("${name}")))`);

async function plugged(node: Node, name = "v0") {
  await node.exec("sh", [
    "-c",
    `ip netns add pod 2>/dev/null; ip link add ${name} type veth peer name ${name} netns pod`,
  ]);
}

const links = async (node: Node) =>
  (await node.exec("sh", ["-c", "ip -br link show type veth; ip -n pod -br link show type veth"])).stdout;

test("when unplugLink has returned, both ends are gone, and the name can be had again at once", async () => {
  await using node = await makeNode("unplug");
  for (let round = 0; round < 5; round++) {
    await plugged(node);
    expect(await unplug(node, "v0")).toBe(true);
    expect(await links(node)).toBe("");
  }
  expect(await unplug(node, "v0")).toBe(false);
});

test("a helper on record that was reaped is forgotten; a record that makes no sense too", async () => {
  await using node = await makeNode("unplug");
  for (const record of ["1 0", "x y", "", "999999 1", "-1 -1", "99999999999999999999 5"]) {
    await node.exec("sh", ["-c", `mkdir -p /run/tenon; printf %s '${record}' > /run/tenon/helper`]);
    await plugged(node);
    expect([record, await unplug(node, "v0")]).toEqual([record, true]);
    expect(await links(node)).toBe("");
  }
  expect((await node.exec("ls", ["/run/tenon"])).stdout).toBe("helper");
});

test("where the mark exists, no helper is made, and the warning says why", async () => {
  await using node = await makeNode("unplug");
  await node.exec("sh", ["-c", "mkdir -p /run/tenon; echo 'by the administrator' > /run/tenon/plain-delete"]);
  await plugged(node);
  expect(await unplug(node, "v0")).toBe(true);
  expect(await links(node)).toBe("");
  expect((await node.exec("ls", ["/run/tenon"])).stdout).toBe("plain-delete");
  expect(await run(node, "console.log(JSON.stringify(unplug.plainDeleteWarning()))")).toContain("by the administrator");
});

test("without a writable /run nothing is remembered, and DEL works", async () => {
  await using node = await makeNode("unplug");
  await plugged(node);
  await node.exec("mount", ["-o", "remount,ro", "/run"]);
  expect(await unplug(node, "v0")).toBe(true);
  expect(await links(node)).toBe("");
});
