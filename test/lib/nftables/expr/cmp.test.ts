import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { value } from "../../../../lib/nftables/data.ts";
import { cmp, comparisons } from "../../../../lib/nftables/expr/cmp.ts";
import { hex, rows, valuesOf, written } from "../../../helpers/bytes.ts";

test.each([
  [
    "with IPv4",
    { register: 1, op: comparisons.equal, value: Uint8Array.of(2) },
    `08 00 01 00  NFTA_CMP_SREG
     00 00 00 01
     08 00 02 00  NFTA_CMP_OP
     00 00 00 00  NFT_CMP_EQ
     0c 00 03 80  NFTA_CMP_DATA
     05 00 01 00
     02 00 00 00`,
  ],
  [
    "with anything but IPv6",
    { register: 1, op: comparisons.unequal, value: Uint8Array.of(10) },
    "08 00 01 00 00 00 00 01 08 00 02 00 00 00 00 01 0c 00 03 80 05 00 01 00 0a 00 00 00",
  ],
] as const)("cmp %s is what nft(8) sends", (_, values, bytes) => {
  expect(rows(written<any>(cmp, values))).toEqual(rows(hex(bytes)));
  expect(cmp.read(hex(bytes))).toEqual(values as any);
});

test("any values are read as they were written", () => {
  fc.assert(
    fc.property(valuesOf(cmp, new Map([[value, fc.uint8Array({ minLength: 1, maxLength: 16 })]])), (values) => {
      expect(cmp.read(written<any>(cmp, values))).toEqual(values as any);
    }),
  );
});
