import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { meta, metaKeys } from "../../../../lib/nftables/expr/meta.ts";
import { hex, rows, valuesOf, written } from "../../../helpers/bytes.ts";

test.each([
  [
    "of the protocol family",
    { register: 1, key: metaKeys.nfproto },
    `08 00 01 00  NFTA_META_DREG
     00 00 00 01
     08 00 02 00  NFTA_META_KEY
     00 00 00 0f  NFT_META_NFPROTO`,
  ],
  ["of the link's name", { register: 1, key: metaKeys.iifname }, "08 00 01 00 00 00 00 01 08 00 02 00 00 00 00 06"],
  [
    "of the other link's name",
    { register: 9, key: metaKeys.oifname },
    "08 00 01 00 00 00 00 09 08 00 02 00 00 00 00 07",
  ],
  [
    "of the mark, which is set",
    { key: metaKeys.mark, from: 1 },
    `08 00 02 00
     00 00 00 03  NFT_META_MARK
     08 00 03 00  NFTA_META_SREG
     00 00 00 01`,
  ],
  ["of the protocol", { register: 9, key: metaKeys.l4proto }, "08 00 01 00 00 00 00 09 08 00 02 00 00 00 00 10"],
] as const)("meta %s is what nft(8) sends", (_, values, bytes) => {
  expect(rows(written<any>(meta, values))).toEqual(rows(hex(bytes)));
  expect(meta.read(hex(bytes))).toEqual(values as any);
});

test("any values are read as they were written", () => {
  fc.assert(
    fc.property(valuesOf(meta), (values) => {
      expect(meta.read(written<any>(meta, values))).toEqual(values as any);
    }),
  );
});
