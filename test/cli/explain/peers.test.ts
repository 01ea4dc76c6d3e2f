import { expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findPeer, listSnapshots } from "../../../cli/explain/peers.ts";

test("an address is of the other node whose networks hold it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tenon-peers-"));
  try {
    const nodes = [
      { name: "a", subnets: ["10.1.1.0/24"], addresses: ["192.0.2.1"] },
      { name: "b", subnets: ["10.1.2.0/24", "fd00:2::/64"], addresses: ["192.0.2.2"] },
    ];
    await writeFile(join(folder, "bad.json"), "{");
    await writeFile(join(folder, "pods.json"), JSON.stringify({ version: 1, network: "pods", self: "a", nodes }));
    await writeFile(join(folder, "pods.stamp"), "");
    expect(listSnapshots(folder).map(({ network }) => network)).toEqual(["bad", "pods"]);
    expect(findPeer("10.1.2.9", folder)).toMatchObject({ network: "pods", node: { name: "b" } });
    expect(findPeer("fd00:2::9", folder)?.node.name).toBe("b");
    // Our own networks are nobody else's.
    expect(findPeer("10.1.1.9", folder)).toBeUndefined();
    expect(findPeer("10.9.0.1", folder)).toBeUndefined();
    expect(listSnapshots(join(folder, "none"))).toEqual([]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
