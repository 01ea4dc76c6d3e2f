import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { bases, payload } from "../../../../lib/nftables/expr/payload.ts";
import { hex, rows, valuesOf, written } from "../../../helpers/bytes.ts";

test.each([
  [
    "of the IPv4 source address",
    { register: 1, base: bases.network, offset: 12, length: 4 },
    `08 00 01 00  NFTA_PAYLOAD_DREG
     00 00 00 01  NFT_REG_1
     08 00 02 00  NFTA_PAYLOAD_BASE
     00 00 00 01  NFT_PAYLOAD_NETWORK_HEADER
     08 00 03 00  NFTA_PAYLOAD_OFFSET
     00 00 00 0c
     08 00 04 00  NFTA_PAYLOAD_LEN
     00 00 00 04`,
  ],
  [
    "of the Ethernet source address",
    { register: 2, base: bases.link, offset: 6, length: 6 },
    "08 00 01 00 00 00 00 02 08 00 02 00 00 00 00 00 08 00 03 00 00 00 00 06 08 00 04 00 00 00 00 06",
  ],
] as const)("payload %s is what nft(8) sends", (_, values, bytes) => {
  expect(rows(written<any>(payload, values))).toEqual(rows(hex(bytes)));
  expect(payload.read(hex(bytes))).toEqual(values as any);
});

test("any values are read as they were written", () => {
  fc.assert(
    fc.property(valuesOf(payload), (values) => {
      expect(payload.read(written<any>(payload, values))).toEqual(values as any);
    }),
  );
});
