import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { addressType, fib, ofDestination } from "../../../../lib/nftables/expr/fib.ts";
import { hex, rows, valuesOf, written } from "../../../helpers/bytes.ts";

test.each([
  [
    "of the kind of the destination",
    { flags: ofDestination, result: addressType, register: 1 },
    `08 00 03 00  NFTA_FIB_FLAGS
     00 00 00 02  NFTA_FIB_F_DADDR
     08 00 02 00  NFTA_FIB_RESULT
     00 00 00 03  NFT_FIB_RESULT_ADDRTYPE
     08 00 01 00  NFTA_FIB_DREG
     00 00 00 01`,
  ],
] as const)("fib %s is what nft(8) sends", (_, values, bytes) => {
  expect(rows(written<any>(fib, values))).toEqual(rows(hex(bytes)));
  expect(fib.read(hex(bytes))).toEqual(values as any);
});

test("any values are read as they were written", () => {
  fc.assert(
    fc.property(valuesOf(fib), (values) => {
      expect(fib.read(written<any>(fib, values))).toEqual(values as any);
    }),
  );
});
