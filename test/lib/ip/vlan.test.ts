// That the kernel takes them and filters by them: test/kernels/bridge.test.ts, as this needs VLAN filtering.
import { expect, test } from "bun:test";
import { ensureBridge } from "../../../lib/ip/link.ts";
import { assertPortVlans, listPortVlans, portVlans, setPortVlans, type TrunkRange } from "../../../lib/ip/vlan.ts";
import { onNode } from "../../helpers/namespace.ts";

const own = (id: number) => ({ id, pvid: true, untagged: true });
test.each<[text: string, native: number | undefined, trunk: TrunkRange[] | undefined, vlans: object[]]>([
  ["neither", undefined, undefined, []],
  ["a VLAN", 100, undefined, [own(100)]],
  [
    "a trunk",
    undefined,
    [{ id: 5 }, { minID: 10, maxID: 20 }],
    [
      { id: 5, end: 5 },
      { id: 10, end: 20 },
    ],
  ],
  [
    "both in one entry",
    undefined,
    [{ id: 5, minID: 10, maxID: 20 }],
    [
      { id: 5, end: 5 },
      { id: 10, end: 20 },
    ],
  ],
  [
    "a range with the own VLAN in it",
    15,
    [{ minID: 10, maxID: 20 }],
    [own(15), { id: 10, end: 14 }, { id: 16, end: 20 }],
  ],
  ["a range that begins with it", 10, [{ minID: 10, maxID: 20 }], [own(10), { id: 11, end: 20 }]],
  ["a range that ends with it", 20, [{ minID: 10, maxID: 20 }], [own(20), { id: 10, end: 19 }]],
  ["it alone", 10, [{ id: 10 }], [own(10)]],
  ["the default VLAN in a range", undefined, [{ minID: 1, maxID: 3 }], [{ id: 2, end: 3 }]],
])("the VLANs of a port with %s", (_, native, trunk, vlans) => {
  expect(portVlans(native, trunk)).toEqual(vlans as ReturnType<typeof portVlans>);
});

test.each<[trunk: TrunkRange, key: string]>([
  [{ minID: 5 }, "vlanTrunk[1]"],
  [{ maxID: 5 }, "vlanTrunk[1]"],
  [{ minID: 6, maxID: 5 }, "vlanTrunk[1].minID"],
])("a trunk of %j is refused by its key", (range, key) => {
  expect(() => portVlans(undefined, [{ id: 1 }, range])).toThrow(expect.objectContaining({ code: 7 }));
  expect(() => portVlans(undefined, [{ id: 1 }, range])).toThrow(key);
});

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
