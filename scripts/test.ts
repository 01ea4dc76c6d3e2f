// Runs the tests: bun scripts/test.ts [part of a path ...]
// Each file in a process of its own, so that no test meets another's open sockets; ends with "N passed, N failed".

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
const broken: string[] = [];
const began = Date.now();
for (const [at, file] of chosen.entries()) {
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
    `${bad ? "FAIL" : "ok  "} [${at + 1}/${chosen.length}] ${file}: ${count("pass")} tests, ${seconds} s\n`,
  );
}
process.stdout.write(`\n${((Date.now() - began) / 1000).toFixed(0)} s\n`);
for (const file of broken) process.stdout.write(`failed: ${file}\n`);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exit(broken.length === 0 ? 0 : 1);
