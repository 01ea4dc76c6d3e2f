// Builds the image for other machines, offline but for the runtime's npm packages: bun scripts/cross.ts [NAME ...]
// Each package @oven/bun-NAME holds the runtime that the image is appended to.
import { mkdir, stat } from "node:fs/promises";
import { execa } from "execa";

/** Machines, by the runtime's own names for them. */
export const machines = ["linux-x64", "linux-x64-baseline", "linux-x64-musl", "linux-aarch64", "linux-aarch64-musl"];

const names = process.argv.length > 2 ? process.argv.slice(2) : machines;
for (const name of names) {
  if (!machines.includes(name)) {
    process.stderr.write(`Cannot build for "${name}": must be one of ${machines.join(", ")}\n`);
    process.exit(1);
  }
  const runtime = `build/cross/runtime/${name}`;
  if (!(await stat(`${runtime}/package/bin/bun`).catch(() => undefined))) {
    process.stdout.write(`${name}: fetching the runtime\n`);
    await mkdir(runtime, { recursive: true });
    const packed = await execa("npm", [
      "pack",
      "--silent",
      `@oven/bun-${name}@${Bun.version}`,
      "--pack-destination",
      runtime,
    ]);
    await execa("tar", ["-xzf", `${runtime}/${packed.stdout.trim().split("\n").at(-1)}`, "-C", runtime]);
  }
  process.stdout.write(`${name}: building\n`);
  await execa(
    process.execPath,
    [
      "scripts/build.ts",
      "--out",
      `build/cross/${name}`,
      "--runtime",
      `${runtime}/package/bin/bun`,
      "--target",
      `bun-${name.replace("aarch64", "arm64")}`,
    ],
    { stdout: "inherit", stderr: "inherit" },
  );
}
