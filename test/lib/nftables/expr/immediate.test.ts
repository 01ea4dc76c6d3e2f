import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { verdict } from "../../../../lib/nftables/data.ts";
import { immediate, verdictRegister } from "../../../../lib/nftables/expr/immediate.ts";
import { hex, rows, valuesOf, written } from "../../../helpers/bytes.ts";

test.each([
  [
    "drop",
    { register: verdictRegister, verdict: { code: "drop" } },
    `08 00 01 00  NFTA_IMMEDIATE_DREG
     00 00 00 00  NFT_REG_VERDICT
     10 00 02 80  NFTA_IMMEDIATE_DATA
     0c 00 02 80  NFTA_DATA_VERDICT
     08 00 01 00  NFTA_VERDICT_CODE
     00 00 00 00  NF_DROP`,
  ],
  [
    "jump",
    { register: verdictRegister, verdict: { code: "jump", chain: "rest" } },
    '08 00 01 00 00 00 00 00 1c 00 02 80 18 00 02 80 08 00 01 00 ff ff ff fd 09 00 02 00 "rest" 00 00 00 00',
  ],
] as const)("immediate %s is what nft(8) sends", (_, values, bytes) => {
  expect(rows(written<any>(immediate, values))).toEqual(rows(hex(bytes)));
  expect(immediate.read(hex(bytes))).toEqual(values as any);
});

test("any values are read as they were written", () => {
  fc.assert(
    fc.property(
      valuesOf(immediate, new Map([[verdict, fc.constantFrom({ code: "accept" }, { code: "goto", chain: "a" })]])),
      (values) => {
        expect(immediate.read(written<any>(immediate, values))).toEqual(values as any);
      },
    ),
  );
});
