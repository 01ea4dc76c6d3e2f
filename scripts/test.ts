// Runs the tests: bun scripts/test.ts [part of a path ...]
// Each file in a process of its own, so that no test meets another's open sockets; ends with "N passed, N failed".
import { readFileSync } from "node:fs";
import { Glob } from "bun";
import { execa } from "execa";

const parts = process.argv.slice(2);
const files = [...new Glob("test/**/*.test.ts").scanSync(".")].sort();
const chosen = files.filter((file) => parts.length === 0 || parts.some((part) => file.includes(part)));
if (chosen.length === 0) {
  process.stderr.write(`Cannot find a test whose path holds ${parts.join(" or ")}\n`);
  process.exit(1);
}

const soak = process.env.TENON_SOAK === "1";
let passed = 0;
let failed = 0;
let done = 0;
const broken: string[] = [];
const began = Date.now();

async function run(file: string): Promise<void> {
  const start = Date.now();
  const timeout = soak ? 3_600_000 : 120_000;
  const { all, exitCode } = await execa(process.execPath, ["test", "--timeout", `${timeout}`, `./${file}`], {
    all: true,
    reject: false,
    stdin: "ignore",
  });
  const count = (word: string) => Number(all.match(new RegExp(`^\\s*(\\d+) ${word}$`, "m"))?.[1] ?? 0);
  passed += count("pass");
  failed += count("fail");
  const bad = exitCode !== 0 || count("pass") === 0;
  if (bad) {
    broken.push(file);
    if (count("fail") === 0) failed++;
    process.stdout.write(`${all}\n`);
  }
  const seconds = ((Date.now() - start) / 1000).toFixed(1);
  process.stdout.write(
    `${bad ? "FAIL" : "ok  "} [${++done}/${chosen.length}] ${file}: ${count("pass")} tests, ${seconds} s\n`,
  );
}

/** Runs files one after another, taken from the head of a list that lanes share. */
async function lane(waiting: string[]): Promise<void> {
  for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) await run(file);
}

// Two at a time: each makes nodes of its own. Those that measure what the kernel does in a time want the machine alone.
const isAlone = (file: string) => readFileSync(file, "utf8").includes("\n// Wants the machine alone");
const together = chosen.filter((file) => !isAlone(file));
await Promise.all([lane(together), lane(together)]);
await lane(chosen.filter(isAlone));
process.stdout.write(`\n${((Date.now() - began) / 1000).toFixed(0)} s\n`);
for (const file of broken) process.stdout.write(`failed: ${file}\n`);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exit(broken.length === 0 ? 0 : 1);
