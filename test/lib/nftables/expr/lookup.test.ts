import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { inverted, lookup } from "../../../../lib/nftables/expr/lookup.ts";
import { hex, rows, valuesOf, written } from "../../../helpers/bytes.ts";

test.each([
  [
    "in a set",
    { set: "pods", register: 1 },
    `09 00 01 00  NFTA_LOOKUP_SET
     "pods" 00 00 00 00
     08 00 02 00  NFTA_LOOKUP_SREG
     00 00 00 01`,
  ],
  [
    "outside a set",
    { set: "pods", register: 1, flags: inverted },
    `09 00 01 00
     "pods" 00 00 00 00
     08 00 02 00
     00 00 00 01
     08 00 05 00  NFTA_LOOKUP_FLAGS
     00 00 00 01  NFT_LOOKUP_F_INV`,
  ],
  [
    "of a map",
    { set: "maps", register: 1, into: 1 },
    `09 00 01 00
     "maps" 00 00 00 00
     08 00 02 00
     00 00 00 01
     08 00 03 00  NFTA_LOOKUP_DREG
     00 00 00 01`,
  ],
] as const)("lookup %s is what nft(8) sends", (_, values, bytes) => {
  expect(rows(written<any>(lookup, values))).toEqual(rows(hex(bytes)));
  expect(lookup.read(hex(bytes))).toEqual(values as any);
});

test("any values are read as they were written", () => {
  fc.assert(
    fc.property(valuesOf(lookup), (values) => {
      expect(lookup.read(written<any>(lookup, values))).toEqual(values as any);
    }),
  );
});
