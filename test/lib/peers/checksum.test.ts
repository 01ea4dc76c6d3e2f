import { expect, test } from "bun:test";
import { ensureChecksum, hasChecksum, wantedChecksum } from "../../../lib/peers/checksum.ts";
import { onNode } from "../../helpers/namespace.ts";

test("what is said counts; by itself only cards that get checksums wrong lose them", () => {
  const driver = (name?: string) => () => name;
  expect(wantedChecksum("on", "eth0", driver("vmxnet3"))).toBe(true);
  expect(wantedChecksum("off", "eth0", driver("ixgbe"))).toBe(false);
  expect(wantedChecksum("auto", "eth0", driver("vmxnet3"))).toBe(false);
  expect(wantedChecksum("auto", "eth0", driver("ixgbe"))).toBeUndefined();
  expect(wantedChecksum("auto", "no-such-link")).toBeUndefined();
});

test("the device's feature is set once", async () => {
  await onNode(async ({ node, ns, ip }) => {
    await node.exec("ip", "link add tenon.1 type vxlan id 1 dstport 4789".split(" "));
    const [{ ifindex }] = await ip("link", "show", "tenon.1");
    expect([hasChecksum(ns, ifindex), ensureChecksum(ns, ifindex, false)]).toEqual([true, true]);
    expect([hasChecksum(ns, ifindex), ensureChecksum(ns, ifindex, false)]).toEqual([false, false]);
    expect(ensureChecksum(ns, ifindex, true)).toBe(true);
  });
});
