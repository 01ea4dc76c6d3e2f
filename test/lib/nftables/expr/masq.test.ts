import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { masq } from "../../../../lib/nftables/expr/masq.ts";
import { hex, rows, valuesOf, written } from "../../../helpers/bytes.ts";

test.each([
  ["without flags", {}, ""],
  ["with flags", { flags: 8 }, "08 00 01 00 00 00 00 08  NFTA_MASQ_FLAGS"],
] as const)("masq %s is what nft(8) sends", (_, values, bytes) => {
  expect(rows(written<any>(masq, values))).toEqual(rows(hex(bytes)));
  expect(masq.read(hex(bytes))).toEqual(values as any);
});

test("any values are read as they were written", () => {
  fc.assert(
    fc.property(valuesOf(masq), (values) => {
      expect(masq.read(written<any>(masq, values))).toEqual(values as any);
    }),
  );
});
