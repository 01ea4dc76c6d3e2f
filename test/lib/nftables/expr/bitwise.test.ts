import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { value } from "../../../../lib/nftables/data.ts";
import { bitwise, maskXor } from "../../../../lib/nftables/expr/bitwise.ts";
import { hex, rows, valuesOf, written } from "../../../helpers/bytes.ts";

test.each([
  [
    "of a mark that gets a bit",
    {
      from: 1,
      register: 1,
      op: maskXor,
      length: 4,
      mask: Uint8Array.of(0xff, 0xef, 0xff, 0xff),
      xor: Uint8Array.of(0, 0x10, 0, 0),
    },
    `08 00 01 00  NFTA_BITWISE_SREG
     00 00 00 01
     08 00 02 00  NFTA_BITWISE_DREG
     00 00 00 01
     08 00 06 00  NFTA_BITWISE_OP
     00 00 00 00  NFT_BITWISE_MASK_XOR
     08 00 03 00  NFTA_BITWISE_LEN
     00 00 00 04
     0c 00 04 80  NFTA_BITWISE_MASK
     08 00 01 00  NFTA_DATA_VALUE
     ff ef ff ff  all but 0x1000
     0c 00 05 80  NFTA_BITWISE_XOR
     08 00 01 00
     00 10 00 00`,
  ],
] as const)("bitwise %s is what nft(8) sends", (_, values, bytes) => {
  expect(rows(written<any>(bitwise, values))).toEqual(rows(hex(bytes)));
  expect(bitwise.read(hex(bytes))).toEqual(values as any);
});

test("any values are read as they were written", () => {
  fc.assert(
    fc.property(valuesOf(bitwise, new Map([[value, fc.uint8Array({ maxLength: 16 })]])), (values) => {
      expect(bitwise.read(written<any>(bitwise, values))).toEqual(values as any);
    }),
  );
});
