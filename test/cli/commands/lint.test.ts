// The command as people call it: files, folders, exit status, both ways of printing.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ipam, list } from "../../helpers/lint.ts";
import { tenon } from "../../helpers/tenon.ts";

let folder: string;
const write = (name: string, plugins: object[], more = {}) =>
  writeFile(join(folder, name), list(plugins, { name: name.split(".")[0], ...more }).text);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenon-lint-"));
  const bridge = { type: "bridge", ipam };
  await write("good.conflist", [bridge, { type: "portmap", capabilities: { portMappings: true } }]);
  await write("bad.conflist", [
    { type: "bridge", mtu: "x" },
    { type: "portmap", nope: 1 },
  ]);
  await write("same.conflist", [bridge], { cniVersion: "1.0.0" });
  await writeFile(join(folder, "notes.txt"), "no configuration");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("a good file: notes alone, status 0", async () => {
  const { exitCode, stdout } = await tenon("lint", `${folder}/good.conflist`);
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/1 file: \d notes?$/);
});

test("a bad file: every finding with its place, status 1", async () => {
  const { exitCode, stdout } = await tenon("lint", `${folder}/bad.conflist`);
  expect(exitCode).toBe(1);
  expect(stdout).toContain(`${folder}/bad.conflist\n  error    plugins[0].mtu  [wrong-value]\n`);
  expect(stdout).toContain("warning  plugins[1].nope  [unknown-key]");
  expect(stdout).toMatch(/1 file: 2 errors, 1 warning, \d notes$/);
});

test("a folder: what runtimes read of it, compared with each other", async () => {
  const { exitCode, stdout } = await tenon("lint", "--dir", folder, "--json");
  expect(exitCode).toBe(1);
  const found = JSON.parse(stdout);
  expect(found).toContainEqual({
    file: `${folder}/same.conflist`,
    path: "plugins[0].ipam.ranges[0][0]",
    severity: "error",
    rule: "overlap",
    message: `It overlaps with plugins[0].ipam.ranges[0][0] of network good in ${folder}/good.conflist: two pods may get one address`,
    hint: "ranges of its own",
  });
  expect(found.some(({ file }: { file: string }) => file.endsWith(".txt"))).toBe(false);
});

test("--speaks: the runtime decides what is too old or too new", async () => {
  expect((await tenon("lint", "--speaks", "1.0.0", `${folder}/good.conflist`)).exitCode).toBe(1);
  expect((await tenon("lint", "--speaks", "1.1.0", `${folder}/good.conflist`)).exitCode).toBe(0);
  const { exitCode, stderr } = await tenon("lint", "--speaks", "7", `${folder}/good.conflist`);
  expect([exitCode, stderr.startsWith('Cannot use --speaks "7": must be one of 0.1.0')]).toEqual([2, true]);
});

test("--fuse prints the list as one chain, or says why not", async () => {
  const good = await tenon("lint", "--fuse", `${folder}/good.conflist`);
  expect(good.exitCode).toBe(0);
  expect(JSON.parse(good.stdout).plugins).toHaveLength(1);
  const alone = await tenon("lint", "--fuse", `${folder}/same.conflist`);
  expect([alone.exitCode, alone.stderr]).toEqual([
    1,
    `Cannot fuse plugins of ${folder}/same.conflist: only one of them is ours`,
  ]);
});

test("a file that is not there is a wrong call", async () => {
  const { exitCode, stderr } = await tenon("lint", `${folder}/none.conflist`);
  expect([exitCode, stderr.startsWith(`Cannot read "${folder}/none.conflist"`)]).toEqual([2, true]);
});
