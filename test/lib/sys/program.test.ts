import { expect, test } from "bun:test";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findProgram, runFound } from "../../../lib/sys/program.ts";

test("the first of several names that is installed is found, also outside PATH", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tenon-program-"));
  const { PATH } = process.env;
  try {
    await writeFile(join(folder, "second"), "#!/bin/sh\n");
    await chmod(join(folder, "second"), 0o755);
    process.env.PATH = `relative:${folder}`;
    expect(findProgram("first", "second", "third")).toBe(join(folder, "second"));
    expect(findProgram("ip", "nft")).toMatch(/sbin\/(ip|nft)$/);
    expect(findProgram("no-such-program")).toBeUndefined();
  } finally {
    process.env.PATH = PATH;
    await rm(folder, { recursive: true });
  }
});

test("a program gets its arguments and input, and no environment but PATH", () => {
  const script = 'cat; echo " $1 $2"; env | cut -d= -f1 | grep -v "^\\(PATH\\|PWD\\|SHLVL\\|_\\)$"; exit 4';
  expect(runFound("/bin/sh", ["-c", script, "sh", "a b", "c"], "in")).toEqual({ status: 4, output: "in a b c\n" });
});
