// One walk over the ground under both runtimes: lib/sys/ffi-bun.ts and its twin ffi-deno.ts.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";

const bin = join(import.meta.dir, "../../../node_modules/.bin");
const script = join(import.meta.dir, "../../helpers/ground.ts");
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenon-ground-"));
});

afterAll(() => rm(folder, { recursive: true }));

const expected = {
  calls: {
    strlen: 16,
    negative: [2 ** 40, 7],
    text: "around",
    none: true,
    copied: [true, "sixteen letters!"],
    part: 0x04030201,
    empty: "number",
    missing: true,
    sha512: Array.from(new Bun.CryptoHasher("sha512").update("tenon").digest().subarray(0, 4)),
  },
  errors: 0,
  files: {
    far: [3, "far"],
    status: [0o100640, 2 ** 33 + 3, "1700000000123456789"],
    locked: "x".repeat(10),
    names: ["c", "d"],
    removed: [true, false],
    missing: 'Cannot open "/no/such/file": no such file or directory',
    any: true,
    full: 'Cannot write "/dev/full": no space left on device',
    procfs: true,
  },
  programs: {
    ran: { status: 3, output: "in on 0\n" },
    large: 1_000_004,
    stdin: [true, 5],
    deaf: 0,
    environment: "ONLY=this\n",
    arguments: "a b:\n",
    killed: -1,
    missing: true,
    forbidden: true,
  },
  network: {
    mainThread: true,
    links: ["lo", "v1", "v0"],
    inside: 3,
    address: "10.1.2.3/24",
    gateway: "10.1.2.1",
    refused: ['Cannot find link "none": no such device', "ENODEV"],
    helped: true,
  },
  environment: "around",
  named: true,
  clocks: true,
};

// File access, also by path, is the C library's: Deno's own permissions for it are not needed.
test.each([
  ["Bun", ["bun"]],
  ["Deno", ["deno", "run", "--no-prompt", "--allow-ffi", "--allow-env", "--allow-run"]],
])(
  "system calls, files, programs and netlink are the same under %s",
  async (name, [runtime, ...flags]) => {
    const work = join(folder, name);
    await execa("mkdir", [work]);
    const { stdout, stderr } = await execa("unshare", ["--net", join(bin, runtime!), ...flags!, script], {
      env: { GROUND: "around", FOLDER: work },
      input: "stdin",
    });
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toEqual(expected);
  },
  20_000,
);

test("Deno's own compiler finds nothing wrong in its back end", async () => {
  const cwd = join(import.meta.dir, "../../..");
  const { exitCode } = await execa(join(bin, "deno"), ["check", "lib/sys/ffi-deno.ts"], { cwd });
  expect(exitCode).toBe(0);
}, 20_000);
