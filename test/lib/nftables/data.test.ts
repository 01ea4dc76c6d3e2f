import { expect, test } from "bun:test";
import { type Verdict, value, verdict } from "../../../lib/nftables/data.ts";
import { hex, rows, written } from "../../helpers/bytes.ts";

test("a value is its bytes in a nest", () => {
  const bytes = hex("05 00 01 00 02 00 00 00  one byte, padding");
  expect(rows(written(value, Uint8Array.of(2)))).toEqual(rows(bytes));
  expect(value.read(bytes)).toEqual(Uint8Array.of(2));
});

const verdicts: [verdict: Verdict, code: string][] = [
  [{ code: "drop" }, "00 00 00 00"],
  [{ code: "accept" }, "00 00 00 01"],
  [{ code: "continue" }, "ff ff ff ff"],
  [{ code: "break" }, "ff ff ff fe"],
  [{ code: "return" }, "ff ff ff fb"],
];

test.each(verdicts)("verdict %j is its number", (given, code) => {
  const bytes = hex(`0c 00 02 80 08 00 01 00 ${code}`);
  expect(rows(written(verdict, given))).toEqual(rows(bytes));
  expect(verdict.read(bytes)).toEqual(given);
});

test.each([
  [{ code: "jump", chain: "rest" }, "ff ff ff fd"],
  [{ code: "goto", chain: "rest" }, "ff ff ff fc"],
] as [Verdict, string][])("verdict %j names its chain", (given, code) => {
  const bytes = hex(`18 00 02 80 08 00 01 00 ${code} 09 00 02 00 "rest" 00 00 00 00`);
  expect(rows(written(verdict, given))).toEqual(rows(bytes));
  expect(verdict.read(bytes)).toEqual(given);
});

test("a value where a verdict could be is its bytes", () => {
  const bytes = hex("08 00 01 00 0a 01 00 02");
  expect(rows(written(verdict, { value: Uint8Array.of(10, 1, 0, 2) }))).toEqual(rows(bytes));
  expect(verdict.read(bytes)).toEqual({ value: Uint8Array.of(10, 1, 0, 2) });
});

test("a verdict without a code, or with an unknown one, is a RangeError", () => {
  expect(() => verdict.read(hex(""))).toThrow(RangeError);
  expect(() => verdict.read(hex("0c 00 02 80 08 00 01 00 00 00 00 63"))).toThrow(RangeError);
});
