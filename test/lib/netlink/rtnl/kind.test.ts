import { expect, test } from "bun:test";
import * as fc from "fast-check";
import type { Table } from "../../../../lib/netlink/attr.ts";
import { bridge, bridgePort, kinds, macvlan, vlan, vxlan } from "../../../../lib/netlink/rtnl/kind.ts";
import { hex, rows, valuesOf, written } from "../../../helpers/bytes.ts";

// Each attribute as iproute2 6.1 sends it: ip link add ... type bridge ageing_time 30000 group_fwd_mask 8 ...
const tables: Record<string, { table: Table<any>; rows: [name: string, value: unknown, bytes: string][] }> = {
  bridge: {
    table: bridge,
    rows: [
      ["ageingTime", 30000, "08 00 04 00 30 75 00 00"],
      ["stpState", 0, "08 00 05 00 00 00 00 00"],
      ["vlanFiltering", false, "05 00 07 00 00 00 00 00"],
      ["groupFwdMask", 8, "06 00 09 00 08 00 00 00"],
      ["multicastSnooping", false, "05 00 17 00 00 00 00 00"],
      ["vlanDefaultPvid", 1, "06 00 27 00 01 00 00 00"],
    ],
  },
  bridgePort: {
    table: bridgePort,
    rows: [
      ["state", 3, "05 00 01 00 03 00 00 00"],
      ["hairpin", true, "05 00 04 00 01 00 00 00"],
      ["learning", false, "05 00 08 00 00 00 00 00"],
      ["unicastFlood", false, "05 00 09 00 00 00 00 00"],
      ["neighSuppress", true, "05 00 20 00 01 00 00 00"],
      ["isolated", true, "05 00 21 00 01 00 00 00"],
    ],
  },
  vxlan: {
    table: vxlan,
    rows: [
      ["id", 42, "08 00 01 00 2a 00 00 00"],
      ["group", "239.1.1.1", "08 00 02 00 ef 01 01 01"],
      ["link", 2, "08 00 03 00 02 00 00 00"],
      ["local", "10.0.0.1", "08 00 04 00 0a 00 00 01"],
      ["ttl", 5, "05 00 05 00 05 00 00 00"],
      ["learning", false, "05 00 07 00 00 00 00 00"],
      ["port", 8472, "06 00 0f 00 21 18 00 00"],
      ["group6", "ff05::1", "14 00 10 00 ff 05 00 00 00 00 00 00 00 00 00 00 00 00 00 01"],
      ["local6", "fd00::1", "14 00 11 00 fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01"],
      ["udpChecksum", true, "05 00 12 00 01 00 00 00"],
    ],
  },
  macvlan: {
    table: macvlan,
    rows: [
      ["mode", 4, "08 00 01 00 04 00 00 00"],
      ["flags", 1, "06 00 02 00 01 00 00 00"],
      ["address", "02:00:00:00:00:09", "0a 00 04 00 02 00 00 00 00 09 00 00"],
    ],
  },
  vlan: { table: vlan, rows: [["id", 100, "06 00 01 00 64 00 00 00"]] },
};

for (const [name, { table, rows: wanted }] of Object.entries(tables)) {
  test.each(wanted)(`${name} %s %p`, (field, value, bytes) => {
    expect(rows(written(table, { [field]: value }))).toEqual(rows(hex(bytes)));
    expect(table.read(hex(bytes))).toEqual({ [field]: value });
  });

  test(`${name} has bytes for each of its fields here`, () => {
    expect(Object.keys(table.fields).sort()).toEqual(wanted.map(([field]) => field).sort());
  });

  test(`${name} settings survive the wire`, () => {
    fc.assert(fc.property(valuesOf(table), (values) => expect(table.read(written(table, values))).toEqual(values)));
  });
}

test("each kind that has a table has bytes here", () => {
  expect(new Set(Object.values(kinds))).toEqual(
    new Set(
      Object.values(tables)
        .map(({ table }) => table)
        .filter((table) => table !== bridgePort),
    ),
  );
  for (const kind in kinds) expect(kinds[kind]).toBe(tables[kind]!.table);
});
