import { expect, test } from "bun:test";
import { createInterface } from "node:readline";
import { execa } from "execa";
import { until } from "../../helpers/healing.ts";
import { attach, results } from "../../helpers/libcni.ts";
import { makeNode } from "../../helpers/node.ts";

const script = new URL("../../helpers/sweep-process.ts", import.meta.url).pathname;
const list = {
  cniVersion: "1.0.0",
  name: "pods",
  plugins: [{ type: "bridge", ipam: { type: "host-local", subnet: "10.1.0.0/24" } }],
};

test("each sweep is told, and why nothing is swept when that changes", async () => {
  await using node = await makeNode("sweeping");
  const { file } = await attach(node, list, await node.netns("a"), "a");
  const [program, ...into] = node.enter();
  const options = JSON.stringify({ runtimes: [{ name: "files", cache: results }] });
  const running = execa(program!, [...into, process.execPath, "run", script, options, "every"], {
    reject: false,
    stdin: "pipe",
    buffer: false,
    stderr: "inherit",
  });
  const said: any[] = [];
  createInterface(running.stdout).on("line", (line) => said.push(JSON.parse(line)));
  const after = (count: number) =>
    until(
      () => said.filter(({ swept }) => swept).length,
      (rounds) => rounds > count,
    );
  await after(2);
  await node.exec("mv", [file, "/run/kept"]);
  await after(await after(0));
  await until(
    () => said,
    (all) => all.some(({ log }) => log),
  );
  await node.exec("mv", ["/run/kept", file]);
  await until(
    () => said.filter(({ log }) => log).map(({ log }) => log),
    (logs) => logs.length === 2,
  );
  expect(said.filter(({ log }) => log).map(({ log }) => log)).toEqual([
    `Nothing is swept: ${results} is empty`,
    "What is dead is swept again",
  ]);
  expect(said.filter(({ swept }) => swept).every(({ swept }) => swept.removed === 0)).toBe(true);
  running.stdin.end();
  expect((await running).exitCode).toBe(0);
}, 20_000);
