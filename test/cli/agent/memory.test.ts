import { expect, test } from "bun:test";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { recall, remember } from "../../../cli/agent/memory.ts";

test("what was remembered is recalled; what was never or not wholly written is a new identity", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tenon-memory-"));
  try {
    const file = join(folder, "agent/pods.json");
    const fresh = await recall(file);
    expect(fresh.subnets).toEqual([]);
    expect(fresh.id).not.toBe((await recall(file)).id);
    const memory = { id: fresh.id, subnets: ["10.244.3.0/24"], lease: "77" };
    await remember(file, memory);
    expect(await recall(file)).toEqual(memory);
    expect(await readdir(join(folder, "agent"))).toEqual(["pods.json"]);
    // What cannot be put in its place leaves nothing beside it.
    await mkdir(join(folder, "taken.json"));
    await expect(remember(join(folder, "taken.json"), memory)).rejects.toThrow("Cannot write");
    expect((await readdir(folder)).sort()).toEqual(["agent", "taken.json"]);
    await writeFile(file, '{"id":"x"');
    expect((await recall(file)).subnets).toEqual([]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
