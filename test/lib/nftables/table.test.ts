import { expect, test } from "bun:test";
import { addTable, deleteTable, getTable, readTable } from "../../../lib/nftables/table.ts";
import { bodyOf, hex, rows } from "../../helpers/bytes.ts";

const table = { family: "inet", name: "tenon" } as const;

test("a table is added as nft(8) does it", () => {
  expect(addTable(table)).toMatchObject({ label: "add table inet tenon", type: 0x0a00, flags: 0x400 });
  expect(rows(bodyOf(addTable(table)))).toEqual(
    rows(
      hex(`
        01 00 00 00             NFPROTO_INET
        0a 00 01 00             NFTA_TABLE_NAME
        "tenon" 00 00 00
        08 00 02 00             NFTA_TABLE_FLAGS
        00 00 00 00
      `),
    ),
  );
});

test.each([
  ["found", getTable, 0x0a01],
  ["deleted", deleteTable, 0x0a02],
] as const)("a table is %s by name", (_, make, type) => {
  expect(make(table)).toMatchObject({ type, flags: 0 });
  expect(rows(bodyOf(make(table)))).toEqual(rows(hex('01 00 00 00 0a 00 01 00 "tenon" 00 00 00')));
});

test("a table is read", () => {
  const payload = hex(`
    07 00 00 0a             NFPROTO_BRIDGE
    0a 00 01 00             NFTA_TABLE_NAME
    "tenon" 00 00 00
    08 00 03 00             NFTA_TABLE_USE
    00 00 00 02
    0c 00 04 00             NFTA_TABLE_HANDLE
    00 00 00 00
    00 00 00 01
  `);
  expect(readTable({ type: 0x0a00, payload })).toEqual({ family: "bridge", name: "tenon", chains: 2 });
});
