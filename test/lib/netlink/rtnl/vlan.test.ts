import { expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  addPortVlans,
  deletePortVlans,
  dumpPortVlans,
  type PortVlan,
  readPortVlans,
} from "../../../../lib/netlink/rtnl/vlan.ts";
import { bodyOf, hex, messageOf, rows } from "../../../helpers/bytes.ts";

const same = (message: Uint8Array, bytes: string) => expect(rows(message)).toEqual(rows(hex(bytes)));

// iproute2 6.1 sends the same without the mark of a nest.
test("bridge vlan add dev vethA vid 100 pvid untagged master", () => {
  same(
    messageOf(addPortVlans(4, [{ id: 100, pvid: true, untagged: true }])),
    `
    34 00 00 00
    13 00 01 00  RTM_SETLINK
    07 00 00 00
    00 00 00 00
    07 00 00 00  AF_BRIDGE
    04 00 00 00  index
    00 00 00 00
    00 00 00 00
    14 00 1a 80  IFLA_AF_SPEC
    06 00 00 00  IFLA_BRIDGE_FLAGS
    01 00 00 00  BRIDGE_FLAGS_MASTER
    08 00 02 00  IFLA_BRIDGE_VLAN_INFO
    06 00 64 00  PVID + UNTAGGED, 100
    `,
  );
});

test.each([
  [{ id: 100 }, "08 00 02 00 00 00 64 00"],
  [{ id: 100, pvid: true }, "08 00 02 00 02 00 64 00"],
  [{ id: 100, untagged: true }, "08 00 02 00 04 00 64 00"],
  [{ id: 200, end: 200 }, "08 00 02 00 00 00 c8 00"],
  [{ id: 200, end: 210 }, "08 00 02 00 08 00 c8 00 08 00 02 00 10 00 d2 00"],
  [{ id: 200, end: 210, untagged: true }, "08 00 02 00 0c 00 c8 00 08 00 02 00 14 00 d2 00"],
])("port VLAN %j", (vlan, bytes) => {
  same(bodyOf(addPortVlans(4, [vlan])).subarray(28), bytes);
});

test("several VLANs go in one message", () => {
  same(
    bodyOf(addPortVlans(4, [{ id: 1 }, { id: 2, end: 3 }])).subarray(28),
    "08 00 02 00 00 00 01 00 08 00 02 00 08 00 02 00 08 00 02 00 10 00 03 00",
  );
});

test("bridge vlan del dev vethA vid 1 master: the type is that of deleting links, the family says otherwise", () => {
  same(
    messageOf(deletePortVlans(4, [{ id: 1 }])),
    `
    34 00 00 00
    11 00 01 00  RTM_DELLINK
    07 00 00 00 00 00 00 00
    07 00 00 00 04 00 00 00 00 00 00 00 00 00 00 00
    14 00 1a 80 06 00 00 00 01 00 00 00 08 00 02 00 00 00 01 00
    `,
  );
});

test("a dump asks for VLANs with a header of zeros, as strict checking wants it", () => {
  same(bodyOf(dumpPortVlans()), "07 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 08 00 1d 00 02 00 00 00");
});

test("what the kernel says of a port: its VLANs one by one, other settings passed over", () => {
  const payload = hex(`
    07 00 01 00 04 00 00 00 43 10 01 00 00 00 00 00
    0a 00 03 00 "vethA" 00 00 00
    14 00 1a 00
    08 00 02 00 06 00 01 00  PVID + UNTAGGED, 1
    08 00 02 00 00 00 64 00
  `);
  expect(readPortVlans({ payload })).toEqual({
    index: 4,
    vlans: [
      { id: 1, pvid: true, untagged: true },
      { id: 100, pvid: false, untagged: false },
    ],
  });
});

test("a port of a bridge that does not filter has no VLANs", () => {
  expect(readPortVlans({ payload: hex("07 00 01 00 04 00 00 00 43 10 01 00 00 00 00 00") })).toEqual({
    index: 4,
    vlans: [],
  });
});

test("what is no VLAN id is a RangeError", () => {
  for (const id of [0, 4095, -1, 1.5, Number.NaN]) {
    expect(() => bodyOf(addPortVlans(4, [{ id }]))).toThrow(RangeError);
    expect(() => bodyOf(addPortVlans(4, [{ id: 1, end: id }]))).toThrow(RangeError);
  }
});

test("less than a header is a RangeError", () => {
  expect(() => readPortVlans({ payload: new Uint8Array(15) })).toThrow(RangeError);
});

test("single VLANs survive the wire", () => {
  const vlan = fc.record({ id: fc.integer({ min: 1, max: 4094 }), pvid: fc.boolean(), untagged: fc.boolean() });
  fc.assert(
    fc.property(fc.array(vlan), fc.nat(), (vlans: PortVlan[], index) => {
      expect(readPortVlans({ payload: bodyOf(addPortVlans(index, vlans)) })).toEqual({ index, vlans });
    }),
  );
});
