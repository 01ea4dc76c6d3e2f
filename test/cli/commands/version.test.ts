import { expect, test } from "bun:test";
import { tenon } from "../../helpers/tenon.ts";

test("versions of the suite and of the specification", async () => {
  const { exitCode, stdout } = await tenon("version");
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/^tenon \d+\.\d+\.\d+\nCNI 0\.1\.0, .*1\.1\.0$/);
});

test("help of one command", async () => {
  const { exitCode, stdout } = await tenon("version", "--help");
  expect([exitCode, stdout]).toEqual([0, "Usage: tenon version"]);
});
