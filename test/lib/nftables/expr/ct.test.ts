import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { connectionKeys, ct } from "../../../../lib/nftables/expr/ct.ts";
import { hex, rows, valuesOf, written } from "../../../helpers/bytes.ts";

test("ct state is what nft(8) sends", () => {
  const values = { register: 1, key: connectionKeys.state };
  const bytes = hex(`
    08 00 01 00  NFTA_CT_DREG
    00 00 00 01  NFT_REG_1
    08 00 02 00  NFTA_CT_KEY
    00 00 00 00  NFT_CT_STATE
  `);
  expect(rows(written<any>(ct, values))).toEqual(rows(bytes));
  expect(ct.read(bytes)).toEqual(values);
});

test("any values are read as they were written", () => {
  fc.assert(
    fc.property(valuesOf(ct), (values) => {
      expect(ct.read(written<any>(ct, values))).toEqual(values as any);
    }),
  );
});
