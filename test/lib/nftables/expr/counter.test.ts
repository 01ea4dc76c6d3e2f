import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { counter } from "../../../../lib/nftables/expr/counter.ts";
import { hex, rows, valuesOf, written } from "../../../helpers/bytes.ts";

test.each([
  ["from the beginning", {}, ""],
  [
    "in use",
    { bytes: 84n, packets: 1n },
    `0c 00 01 00  NFTA_COUNTER_BYTES
     00 00 00 00
     00 00 00 54
     0c 00 02 00  NFTA_COUNTER_PACKETS
     00 00 00 00
     00 00 00 01`,
  ],
] as const)("counter %s is what nft(8) sends", (_, values, bytes) => {
  expect(rows(written<any>(counter, values))).toEqual(rows(hex(bytes)));
  expect(counter.read(hex(bytes))).toEqual(values as any);
});

test("any values are read as they were written", () => {
  fc.assert(
    fc.property(valuesOf(counter), (values) => {
      expect(counter.read(written<any>(counter, values))).toEqual(values as any);
    }),
  );
});
