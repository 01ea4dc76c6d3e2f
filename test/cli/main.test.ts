// The command line as a program: what people see who call it wrong, and its list of commands.
import { expect, test } from "bun:test";
import { tenon } from "../helpers/tenon.ts";

test("without a command it lists them and fails", async () => {
  const { exitCode, stdout } = await tenon();
  expect(exitCode).toBe(2);
  expect(stdout).toContain("Usage: tenon COMMAND");
  expect(stdout).toMatch(/^ {2}version +of this suite/m);
});

test("an unknown command is named", async () => {
  const { exitCode, stderr } = await tenon("fly");
  expect(exitCode).toBe(2);
  expect(stderr).toBe('Cannot run "fly": there is no such command; tenon --help lists them');
});
