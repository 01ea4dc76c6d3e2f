// That the kernel takes them and filters by them: test/kernels/bridge.test.ts, as this needs VLAN filtering.
import { expect, test } from "bun:test";
import { ensureBridge } from "../../../lib/ip/link.ts";
import { assertPortVlans, listPortVlans, setPortVlans } from "../../../lib/ip/vlan.ts";
import { onNode } from "../../helpers/namespace.ts";

test("a bridge without VLAN filtering has no VLANs to list, and CHECK says which one is missing", () =>
  onNode(async ({ ns }) => {
    const bridge = ensureBridge(ns, { name: "br0" });
    expect(listPortVlans(ns).get(bridge.index) ?? []).toEqual([]);
    expect(() => assertPortVlans(ns, bridge.index, [{ id: 100, pvid: true }])).toThrow("VLAN 100");
    assertPortVlans(ns, bridge.index, []);
  }));

test("what is no port gets no VLANs, and the refusal says so", () =>
  onNode(async ({ ns }) => {
    expect(() => setPortVlans(ns, 4711, [{ id: 100 }], false)).toThrow("port 4711");
  }));
