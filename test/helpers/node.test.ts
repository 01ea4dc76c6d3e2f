import { expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { makeNode, uplink } from "./node.ts";
import { leftOver, snapshot } from "./snapshot.ts";

test("a node has a network, processes and state folders of its own", async () => {
  await using node = await makeNode("own");
  const { stdout } = await node.exec("ip", ["-j", "link"]);
  expect(JSON.parse(stdout).filter((link: any) => link.operstate !== "DOWN")).toHaveLength(1);
  expect((await node.exec("sh", ["-c", "echo $$ $0 $FOO"], { env: { FOO: "x" } })).stdout).toMatch(/^\d{1,3} sh x$/);
  expect((await node.exec("cat", [], { input: "in" })).stdout).toBe("in");
  writeFileSync(node.path("/var/lib/cni/a"), "a");
  expect(await readFile(`${node.dir}/var/lib/cni/a`, "utf8")).toBe("a");
  expect(existsSync("/var/lib/cni/a")).toBe(false);
  expect((await node.exec("sh", ["-c", "exit 3"], { reject: false })).exitCode).toBe(3);
  expect((await node.exec("ls", ["/sys/class/net", "/sys/fs/cgroup"])).stdout).not.toContain("eth0");
});

test("a snapshot shows what was added to a node, and nothing after it was taken away", async () => {
  await using node = await makeNode("snap");
  const before = await snapshot(node);
  const pod = await node.netns("a");
  await node.exec("ip", ["link", "add", "v0", "type", "veth", "peer", "name", "eth0", "netns", "a"]);
  await node.exec("nft", ["add", "table", "inet", "tenon"]);
  expect(await pod.exec("ip", ["-br", "link", "show", "eth0"])).toMatchObject({ exitCode: 0 });
  const during = leftOver(before, await snapshot(node));
  expect(during.map((line) => line.split(" ").slice(0, 2).join(" ")).sort()).toEqual(["+ file", "+ link", "+ nft"]);
  await pod.close();
  await node.exec("nft", ["delete", "table", "inet", "tenon"]);
  await Bun.sleep(50);
  expect(leftOver(before, await snapshot(node))).toEqual([]);
});

test("a node with an uplink reaches the outside, and its address is all the outside knows", async () => {
  await using node = await makeNode("up", { uplink: true });
  for (const address of uplink.outside) await node.exec("ping", ["-c1", "-W1", address]);
  for (const address of uplink.node) await node.outside!.exec("ping", ["-c1", "-W1", address]);
});

test("closing a node ends daemons in it and removes its folder", async () => {
  const node = await makeNode("end");
  await node.exec("sh", ["-c", `setsid sh -c 'echo 1 > ${node.dir}/up; sleep 100' >/dev/null 2>&1 &`]);
  const started = performance.now();
  await node.close();
  expect(performance.now() - started).toBeLessThan(2000);
  expect(existsSync(node.dir)).toBe(false);
});

test("a node reaps orphans, unless told not to", async () => {
  for (const reaps of [true, false]) {
    await using node = await makeNode("reap", { reaps });
    await node.exec("sh", ["-c", "(sh -c true & exec sh -c 'sleep 0.05' )& "]);
    await Bun.sleep(200);
    const { stdout } = await node.exec("sh", ["-c", "cat /proc/[0-9]*/stat"]);
    expect(/\) Z /.test(stdout)).toBe(!reaps);
  }
});

test("a command that takes too long is killed, with what it is doing", async () => {
  await using node = await makeNode("late");
  const error = await node.exec("sleep", ["77"], { timeout: 100 }).catch((error) => error);
  expect(error.message).toContain("Cannot finish sleep");
  await Bun.sleep(50);
  expect((await node.exec("sh", ["-c", "cat /proc/[0-9]*/stat"])).stdout).not.toMatch(/\(sleep\) [^Z]/);
});
