import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { destination, nat } from "../../../../lib/nftables/expr/nat.ts";
import { hex, rows, valuesOf, written } from "../../../helpers/bytes.ts";

test.each([
  [
    "of the destination to an address and a port side by side",
    { type: destination, family: 2, address: 1, port: 9 },
    `08 00 01 00  NFTA_NAT_TYPE
     00 00 00 01  NFT_NAT_DNAT
     08 00 02 00  NFTA_NAT_FAMILY
     00 00 00 02  NFPROTO_IPV4
     08 00 03 00  NFTA_NAT_REG_ADDR_MIN
     00 00 00 01
     08 00 05 00  NFTA_NAT_REG_PROTO_MIN
     00 00 00 09  the register after the address`,
  ],
] as const)("nat %s is what nft(8) sends", (_, values, bytes) => {
  expect(rows(written<any>(nat, values))).toEqual(rows(hex(bytes)));
  expect(nat.read(hex(bytes))).toEqual(values as any);
});

test("any values are read as they were written", () => {
  fc.assert(
    fc.property(valuesOf(nat), (values) => {
      expect(nat.read(written<any>(nat, values))).toEqual(values as any);
    }),
  );
});
