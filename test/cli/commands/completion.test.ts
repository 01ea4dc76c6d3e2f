import { expect, test } from "bun:test";
import { tenon } from "../../helpers/tenon.ts";

test("a script for each shell knows the commands", async () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    const { exitCode, stdout } = await tenon("completion", shell);
    expect(exitCode).toBe(0);
    expect(stdout).toContain("version");
  }
});

test("another shell is refused", async () => {
  const { exitCode, stderr } = await tenon("completion", "ksh");
  expect([exitCode, stderr]).toEqual([2, 'Cannot complete for "ksh": name one of bash, zsh, fish']);
});
