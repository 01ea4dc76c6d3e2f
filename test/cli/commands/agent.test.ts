import { expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tenon } from "../../helpers/tenon.ts";

test("a configuration is checked without starting anything", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tenon-check-"));
  try {
    const file = join(folder, "agent.yaml");
    const network = "source: { type: file, path: /p }, conflist: { template: /t, to: /c.conflist }";
    await writeFile(file, `networks: [{ name: pods, ${network} }]`);
    expect(await tenon("agent", "--config", file, "--check")).toMatchObject({ exitCode: 0, stderr: "" });
    await writeFile(file, `networks: [{ name: "", ${network} }]`);
    const { exitCode, stderr } = await tenon("agent", "--config", file, "--check");
    expect(exitCode).toBe(1);
    expect(stderr).toStartWith('Cannot use networks[0].name "": must begin with a letter');
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("a configuration that is not there is named", async () => {
  const { exitCode, stderr } = await tenon("agent", "--config", "/no/such.yaml");
  expect([exitCode, stderr.split(":")[0]]).toEqual([1, 'Cannot read "/no/such.yaml"']);
});
