// The main line, as a process: a little plugin that does what its configuration says.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";

const lib = join(import.meta.dir, "../../../lib");
const program = `
import { config, int, string } from "${lib}/cni/config.ts";
import { delegate } from "${lib}/cni/delegate.ts";
import { CniError } from "${lib}/cni/errors.ts";
import { main, withoutPlugin } from "${lib}/cni/main.ts";
import { open } from "${lib}/sys/file.ts";

const does = {
  nothing: () => ({ ips: [{ address: "10.0.0.2/24" }] }),
  much: ({ conf }) => ({ ips: [{ address: "10.0.0.2/24" }], dns: { domain: "x".repeat(conf.size) } }),
  refuse: () => { throw new CniError(11, "Cannot go on", { details: "later" }); },
  miss: () => open("/no/such/file", 0),
  crash: () => undefined.x,
  several: () => { throw new AggregateError([new CniError(5, "one"), new Error("two")], "Cannot finish: 2 steps failed"); },
  delegate: (request) => delegate(request, "foreign", "ADD"),
  warn: (request) => { request.warn("something is odd"); return {}; },
};
const plugin = {
  conf: config({ do: [string, { default: "nothing" }, ""], size: [int, ""] }),
  add: (request) => does[request.conf.do](request),
  del: (request) => void does[request.conf.do](request),
};
const young = { ...plugin, versions: ["1.0.0", "1.1.0"] };
if (process.env.SUITE) withoutPlugin({ plugin: ["0.4.0"], young: young.versions });
else main(process.env.YOUNG ? young : plugin);
`;

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tenon-main-"));
  writeFileSync(join(folder, "plugin.ts"), program);
  writeFileSync(
    join(folder, "foreign"),
    `#!/bin/sh\necho "from below" >&2\necho '{"ips": [{"address": "10.0.0.9/24"}]}'\n`,
  );
  chmodSync(join(folder, "foreign"), 0o755);
  for (const name of ["young", "stranger"]) symlinkSync(process.execPath, join(folder, name));
});

afterAll(() => rmSync(folder, { recursive: true }));

type Run = { env?: Record<string, string>; input?: string; stdout?: string };

/** Runs the plugin with a complete environment, but for what `env` changes. */
async function run(verb: string, conf: object = {}, { env = {}, input }: Run = {}, program = process.execPath) {
  const given = input ?? JSON.stringify({ cniVersion: "1.0.0", name: "net", ...conf });
  const complete = { CNI_CONTAINERID: "c", CNI_NETNS: "/none", CNI_IFNAME: "eth0", CNI_PATH: folder };
  const { stdout, stderr, exitCode } = await execa(program, [join(folder, "plugin.ts")], {
    ...{ input: given, extendEnv: false, reject: false, stripFinalNewline: false },
    env: { ...complete, CNI_COMMAND: verb, ...env },
  });
  return { stdout, stderr, exitCode };
}

/** The error document that was printed. */
async function refused(...args: Parameters<typeof run>) {
  const { stdout, stderr, exitCode } = await run(...args);
  expect(stderr).toBe("");
  expect(exitCode).toBe(1);
  return JSON.parse(stdout); // which is one document, and nothing else
}

describe("what is printed", () => {
  test("of ADD is the result, indented, without a final newline", async () => {
    expect(await run("ADD")).toEqual({
      stdout:
        '{\n    "cniVersion": "1.0.0",\n    "ips": [\n        {\n            "address": "10.0.0.2/24"\n        }\n    ]\n}',
      ...{ stderr: "", exitCode: 0 },
    });
  });

  test("of DEL, CHECK, STATUS and GC is nothing", async () => {
    const living = { cniVersion: "1.1.0", "cni.dev/valid-attachments": [] };
    for (const verb of ["DEL", "CHECK", "STATUS", "GC"]) {
      expect(await run(verb, living)).toEqual({ stdout: "", stderr: "", exitCode: 0 });
    }
  });

  test("of VERSION is what is spoken, whatever else is given", async () => {
    const all = '["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]';
    const nothing = { CNI_CONTAINERID: "", CNI_NETNS: "dummy", CNI_IFNAME: "", CNI_PATH: "" };
    for (const input of ['{"cniVersion": "1.0.0"}', "", "nonsense"]) {
      const { stdout, exitCode } = await run("VERSION", {}, { env: nothing, input });
      expect([stdout, exitCode]).toEqual([`{"cniVersion":"1.1.0","supportedVersions":${all}}\n`, 0]);
    }
    expect((await run("VERSION", {}, { env: { YOUNG: "1" } })).stdout).toContain('["1.0.0","1.1.0"]');
  });

  test("of no verb at all is for people, on stderr", async () => {
    const { stdout, stderr, exitCode } = await run("", {}, { env: { YOUNG: "1" } });
    expect([stdout, exitCode]).toEqual(["", 0]);
    expect(stderr).toMatch(/^CNI \S+ plugin of Tenon\nCNI protocol versions supported: 1\.0\.0, 1\.1\.0\n$/);
  });

  test("is whole, however large it is", async () => {
    const { stdout, exitCode } = await run("ADD", { do: "much", size: 300_000 });
    expect(JSON.parse(stdout).dns.domain).toHaveLength(300_000);
    expect(exitCode).toBe(0);
  });

  test("of a warning goes to stderr", async () => {
    expect(await run("DEL", { do: "warn" })).toEqual({ stdout: "", stderr: "tenon: something is odd\n", exitCode: 0 });
  });

  test("on stderr by a delegated plugin passes through", async () => {
    const { stdout, stderr } = await run("ADD", { do: "delegate" });
    expect(JSON.parse(stdout).ips).toEqual([{ address: "10.0.0.9/24" }]);
    expect(stderr).toBe("from below\n");
  });
});

describe("an error is one document with exit code 1", () => {
  test.each([
    ["refuse", { code: 11, msg: "Cannot go on", details: "later" }],
    ["miss", { code: 100, msg: 'Cannot open "/no/such/file": no such file or directory' }],
    ["crash", { code: 999, msg: expect.stringMatching(/undefined/) }],
    ["several", { code: 5, msg: "Cannot finish: 2 steps failed", details: "one; two" }],
  ])("where a plugin does %s", async (what, document) => {
    for (const verb of ["ADD", "DEL"]) {
      expect(await refused(verb, { do: what })).toEqual({ cniVersion: "1.0.0", ...document });
    }
  });

  test.each([
    ["a verb that is none", ["add"], 4],
    ["a variable that is missing", ["ADD", {}, { env: { CNI_IFNAME: "" } }], 4],
    ["input that is empty", ["ADD", {}, { input: "" }], 6],
    ["input that is no JSON", ["ADD", {}, { input: "{" }], 6],
    ["a network without a name", ["ADD", { name: "" }], 7],
    ["a version that is not spoken", ["ADD", { cniVersion: "9.9.9" }], 1],
    ["a verb that the version lacks", ["GC", { cniVersion: "1.0.0" }], 1],
    ["a wrong value", ["ADD", { size: "x" }], 7],
    ["a result that the version cannot hold", ["ADD", { cniVersion: "0.2.0", do: "warn" }], 2],
  ] as [string, Parameters<typeof run>, number][])("for %s", async (_, args, code) => {
    if (args[1] && "do" in args[1]) expect(JSON.parse((await run(...args)).stdout).code).toBe(code);
    else expect(await refused(...args)).toMatchObject({ code, msg: expect.stringMatching(/^Cannot .+[^.]$/s) });
  });

  test("the environment is looked at before the input, the version before the values", async () => {
    expect((await refused("ADD", {}, { env: { CNI_IFNAME: "" }, input: "{" })).code).toBe(4);
    expect((await refused("ADD", { name: "", cniVersion: "9.9.9" })).code).toBe(7);
    expect((await refused("ADD", { cniVersion: "9.9.9", size: "x" })).code).toBe(1);
  });

  test("the plugin's own namespace is refused before anything is done, unless that is asked for", async () => {
    const env = { CNI_NETNS: "/proc/self/ns/net" };
    for (const verb of ["ADD", "DEL"]) {
      expect(await refused(verb, { do: "crash" }, { env })).toMatchObject({
        ...{ code: 8, msg: 'Cannot use CNI_NETNS "/proc/self/ns/net": it is the plugin\'s own network namespace' },
      });
    }
    expect((await run("ADD", {}, { env: { ...env, CNI_NETNS_OVERRIDE: "TRUE" } })).exitCode).toBe(0);
    expect((await run("CHECK", { cniVersion: "1.1.0" }, { env })).exitCode).toBe(0);
  });

  test("a namespace's path that cannot be followed is for the plugin to judge", async () => {
    symlinkSync("loop", join(folder, "loop"));
    expect((await run("DEL", {}, { env: { CNI_NETNS: join(folder, "loop") } })).exitCode).toBe(0);
  });

  test("for input that cannot be read, and without one for a result that cannot be printed", async () => {
    const shell = (redirection: string) => `exec ${process.execPath} ${join(folder, "plugin.ts")} ${redirection}`;
    const env = { CNI_COMMAND: "ADD", CNI_CONTAINERID: "c", CNI_NETNS: "/n", CNI_IFNAME: "e", CNI_PATH: "/" };
    const unread = await execa("sh", ["-c", shell("< /")], { env, reject: false });
    expect([unread.exitCode, JSON.parse(unread.stdout).code]).toEqual([1, 5]);
    const input = '{"cniVersion": "1.0.0", "name": "n"}';
    expect((await execa("sh", ["-c", shell("> /dev/full")], { input, env, reject: false })).exitCode).toBe(1);
  });
});

describe("one executable with many names", () => {
  test("says what the plugin speaks that it is called by", async () => {
    const env = { SUITE: "1" };
    expect((await run("VERSION", {}, { env }, join(folder, "young"))).stdout).toContain('["1.0.0","1.1.0"]');
  });

  test("says which names there are", async () => {
    expect(await refused("VERSION", {}, { env: { SUITE: "1" } }, join(folder, "stranger"))).toEqual({
      ...{ cniVersion: "1.1.0", code: 4 },
      msg: 'Cannot run as "stranger": call me as one of plugin, young',
    });
  });
});
