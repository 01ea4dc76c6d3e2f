import { expect, test } from "bun:test";
import { elementUserdata, ruleUserdata, setUserdata } from "../../../lib/nftables/userdata.ts";
import { hex, rows, written } from "../../helpers/bytes.ts";

test.each([
  ["rule", ruleUserdata, { comment: "podnet" }, '00 07 "podnet" 00'],
  ["element", elementUserdata, { comment: "a/b/eth0" }, '00 09 "a/b/eth0" 00'],
  ["set", setUserdata, { keyOrder: 2, comment: "pods" }, '00 04 02 00 00 00 07 05 "pods" 00'],
] as const)("the user data of a %s is what nft(8) writes", (_, type, value, bytes) => {
  expect(rows(written<any>(type, value))).toEqual(rows(hex(bytes)));
  expect(type.read(hex(bytes))).toEqual(value);
});

test("records of other kinds are skipped, wherever they are", () => {
  const bytes = hex(`
    02 01 ff     NFTNL_UDATA_SET_MERGE_ELEMENTS
    07 03 "ab" 00
    63 00        empty
  `);
  expect(setUserdata.read(bytes)).toEqual({ comment: "ab" });
});

test("no record, or half of one, is no comment", () => {
  expect(elementUserdata.read(hex(""))).toEqual({});
  expect(elementUserdata.read(hex("00"))).toEqual({});
});

test("a comment of 127 bytes is written, one of 128 is a RangeError", () => {
  expect(written(elementUserdata, { comment: "x".repeat(127) })).toHaveLength(130);
  expect(() => written(elementUserdata, { comment: "x".repeat(128) })).toThrow(RangeError);
  expect(() => written(elementUserdata, { comment: "é".repeat(64) })).toThrow(RangeError);
});
