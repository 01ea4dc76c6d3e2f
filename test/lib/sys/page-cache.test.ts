import { expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { readInLargePieces } from "../../../lib/sys/page-cache.ts";

test("all of a file is in memory afterwards, and unchanged", async () => {
  const folder = await mkdtemp("build/page-cache-");
  try {
    const file = join(folder, "executable");
    const bytes = crypto.getRandomValues(new Uint8Array(65536));
    const content = Buffer.concat(Array.from({ length: 80 }, () => bytes));
    await writeFile(file, content);
    await execa("dd", [`of=${file}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"]);
    const inMemory = async () =>
      Number((await execa("fincore", ["--bytes", "--noheadings", "--output", "RES", file])).stdout);
    expect(await inMemory()).toBeLessThan(content.length);
    readInLargePieces(file);
    expect(await inMemory()).toBe(content.length);
    expect(content.equals(await Bun.file(file).bytes())).toBe(true);
    await writeFile(join(folder, "empty"), "");
    for (const unmapped of ["empty", "."]) readInLargePieces(join(folder, unmapped));
    expect(() => readInLargePieces(join(folder, "none"))).toThrow("no such file");
  } finally {
    await rm(folder, { recursive: true });
  }
});
