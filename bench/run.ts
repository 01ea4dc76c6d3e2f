#!/usr/bin/env bun
// The process-level benchmark: our executables beside the reference's and the kernel's floor, in nodes of their own.
//   bun bench/run.ts [--case GROUP]... [--pairs N] [--quick] [--write] [--ours DIR] [--reference DIR] [--state DIR]
// Progress goes to stderr, the page to stdout, with --write also to docs/benchmarks.md. A missed target is marked, not an
// error: what a shared machine measures is no reason to fail. DIR of --state wants ext4, where the reference's habits cost.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statfsSync, statSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { readInLargePieces } from "../lib/sys/page-cache.ts";
import { version } from "../package.json";
import { referenceDir } from "../scripts/reference.ts";
import { groups } from "./group.ts";
import type { Findings } from "./measure.ts";
import type { Options } from "./node.ts";
import { page } from "./report.ts";

const root = resolve(import.meta.dir, "..");
const EXT4 = 0xef53; // linux/magic.h; ext2 and ext3 share it
// The node dies with this process, however it ends: setpriv covers SIGKILL, and a PID namespace takes everything along.
const node =
  "setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private";

const { values: flags } = parseArgs({
  options: {
    case: { type: "string", multiple: true },
    pairs: { type: "string" },
    quick: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
    ours: { type: "string", default: process.env.BENCH_OURS ?? join(root, "build/bin") },
    reference: { type: "string", default: process.env.BENCH_REF },
    state: { type: "string", default: tmpdir() },
  },
});
const known = [...Object.keys(groups), "allocator"];
const chosen = flags.case ?? (flags.quick ? Object.keys(groups) : known);
const odd = chosen.find((name) => !known.includes(name));
if (odd) refuse(`Cannot measure "${odd}": must be one of ${known.join(", ")}`);
const ours = resolve(flags.ours);
if (!existsSync(join(ours, "bridge"))) refuse(`Cannot measure ${ours}: no bridge in it; \`make build\` makes one`);
const reference = flags.reference ? { dir: resolve(flags.reference), version: "as given" } : referenceDir();
const pairs = Number(flags.pairs ?? (flags.quick ? 8 : 60));

let running: Bun.Subprocess | undefined;
const scratch = mkdtempSync(join(resolve(flags.state), "tenon-bench-"));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, async () => {
    running?.kill("SIGKILL");
    await running?.exited;
    rmSync(scratch, { recursive: true, force: true });
    process.exit(130);
  });
}
try {
  const text = await measureAll();
  process.stdout.write(text);
  if (flags.write) await Bun.write(join(root, "docs/benchmarks.md"), text);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

async function measureAll(): Promise<string> {
  const floor = compileFloor();
  const batches = flags.quick ? 2 : Math.min(15, pairs);
  const options: Options = { reference: reference.dir, ours, floor, scratch, pairs, batches, quick: flags.quick };
  const notes: string[] = [];
  if (statfsSync(scratch).type !== EXT4) notes.push("State was not on ext4: the reference looks better than it is.");
  if (!floor) notes.push("The floor was not measured: no C compiler with a static C library here.");
  const found: Findings[] = [];
  let busiest = 0;
  for (const name of chosen.filter((each) => each in groups)) {
    // Both sides as after an installation, whatever the group before did; links of one file are one file.
    const images = [...readdirSync(reference.dir).map((each) => join(reference.dir, each)), join(ours, "bridge")];
    for (const image of images) if (statSync(image).isFile()) readInLargePieces(image);
    busiest = Math.max(busiest, await calm());
    const begin = Date.now();
    const answer = await measure(name, options);
    if (typeof answer === "string") notes.push(`The group ${name} was not measured: ${answer}`);
    else found.push(answer);
    process.stderr.write(`${name}: ${Math.round((Date.now() - begin) / 1000)} s\n`);
  }
  if (busiest > 0.15)
    notes.push(`The machine was shared: up to ${Math.round(100 * busiest)} % of it busy between groups.`);
  return page(facts(), notes, found, chosen.includes("allocator") ? await allocator() : "");
}

/** One group in a node of its own: its findings, or the reason why there are none. */
async function measure(name: string, options: Options): Promise<Findings | string> {
  const state = join(scratch, name); // removed at once, so that 60,000 files do not wait for the end
  const command = [
    process.execPath,
    join(import.meta.dir, "group.ts"),
    name,
    JSON.stringify({ ...options, scratch: state }),
  ];
  running = Bun.spawn([...node.split(" "), ...command], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [output, error] = await Promise.all([
    new Response(running.stdout as ReadableStream).text(),
    new Response(running.stderr as ReadableStream).text(),
  ]);
  const status = await running.exited;
  rmSync(state, { recursive: true, force: true });
  if (status === 0) return JSON.parse(output) as Findings;
  process.stderr.write(error);
  return error.match(/^error: (.*)$/m)?.[1] ?? `exit ${status}`;
}

/** Waits until an earlier node's namespaces are cleaned up and others pause, 10 s at most (quick: 3): the share of the cores still busy. */
async function calm(): Promise<number> {
  const ticks = () => {
    const [, ...fields] = readFileSync("/proc/stat", "utf8").split("\n")[0]!.split(/\s+/).map(Number);
    return { all: fields.reduce((sum, each) => sum + each, 0), idle: fields[3]! + fields[4]! };
  };
  let share = 1;
  for (let tries = 0; tries < (flags.quick ? 6 : 20) && share > 0.05; tries++) {
    const before = ticks();
    await Bun.sleep(500);
    const after = ticks();
    share = 1 - (after.idle - before.idle) / (after.all - before.all);
  }
  return share;
}

/** The path of floor.c's program; none where it cannot be made. */
function compileFloor(): string | undefined {
  const compiler = Bun.which("cc") ?? Bun.which("gcc");
  if (!compiler) return undefined;
  const path = join(scratch, "floor");
  const { success } = Bun.spawnSync([compiler, "-O2", "-static", "-o", path, join(import.meta.dir, "floor.c")]);
  return success ? path : undefined;
}

/** Loaded late: it stands on the built WASM module, which the other groups do without. */
async function allocator(): Promise<string> {
  const { report } = await import("./allocator.ts");
  return await report();
}

function facts(): string[] {
  const { length: cores, 0: first } = cpus();
  return [
    `Machine: ${first?.model ?? "unknown processor"}, ${cores} cores, ${process.arch}; Linux ${release()}.`,
    `Versions: Tenon ${version} on Bun ${Bun.version}; reference plugins ${reference.version}; ${tool("iptables")}; ${tool("nft")}.`,
    `Rounds: n in the tables; made on ${new Date().toISOString().slice(0, 10)}.`,
  ];
}

function tool(name: string): string {
  return Bun.which(name) ? Bun.spawnSync([name, "--version"]).stdout.toString().trim() : `no ${name}`;
}

function refuse(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
