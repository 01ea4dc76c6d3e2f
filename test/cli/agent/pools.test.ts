import { expect, test } from "bun:test";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { poolsOf } from "../../../cli/agent/pools.ts";

test("free is what no file of host-local stands for", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tenon-pools-"));
  try {
    await mkdir(join(folder, "pods"));
    for (const name of ["10.244.3.2", "10.244.3.9", "10.244.4.2", "fd00:3::2", "lock", "last_reserved_ip.0"])
      await writeFile(join(folder, "pods", name), "");
    expect(poolsOf("pods", ["10.244.3.0/24", "fd00:3::/120"], folder)).toEqual([
      { subnet: "10.244.3.0/24", size: 253, free: 251 },
      { subnet: "fd00:3::/120", size: 254, free: 253 },
    ]);
    expect(poolsOf("none", ["10.244.3.0/24"], folder)[0]!.free).toBe(253);
  } finally {
    await rm(folder, { recursive: true });
  }
});
