import { expect, test } from "bun:test";
import { Glob } from "bun";
import { type Expression, expression, expressions, sameExpressions } from "../../../lib/nftables/expression.ts";
import { hex, rows, written } from "../../helpers/bytes.ts";

test("every file of expr/ is an expression, and every expression a file", () => {
  const files = [...new Glob("*.ts").scanSync("lib/nftables/expr")].map((file) => file.replace(".ts", ""));
  expect(files.sort()).toEqual(Object.keys(expressions).sort());
});

test("an expression is its name and its attributes", () => {
  const meta: Expression = { name: "meta", key: 15, register: 1 };
  const bytes = hex(`
    09 00 01 00         NFTA_EXPR_NAME
    "meta" 00 00 00 00
    14 00 02 80         NFTA_EXPR_DATA
    08 00 02 00
    00 00 00 0f
    08 00 01 00
    00 00 00 01
  `);
  expect(rows(written(expression, meta))).toEqual(rows(bytes));
  expect(expression.read(bytes)).toEqual(meta);
});

test("an expression that says nothing has an empty nest", () => {
  const bytes = hex('09 00 01 00 "masq" 00 00 00 00 04 00 02 80');
  expect(rows(written(expression, { name: "masq" }))).toEqual(rows(bytes));
  expect(expression.read(bytes)).toEqual({ name: "masq" });
});

test.each(["quota", "constructor", "__proto__"])("%p, of somebody else's rule, keeps its bytes", (name) => {
  const unknown = hex("08 00 01 00 00 00 00 2a");
  const bytes = written(expression, { name, unknown });
  expect(expression.read(bytes)).toEqual({ name, unknown });
});

const cmp: Expression = { name: "cmp", register: 1, op: 0, value: Uint8Array.of(2) };

test.each([
  ["the same", [cmp], [{ ...cmp }], true],
  ["what the kernel fills in", [{ name: "counter" }], [{ name: "counter", bytes: 84n, packets: 1n }], true],
  ["another value", [cmp], [{ ...cmp, value: Uint8Array.of(10) }], false],
  ["a longer value", [cmp], [{ ...cmp, value: Uint8Array.of(2, 0) }], false],
  ["another expression", [cmp], [{ name: "masq" }], false],
  ["one more", [cmp], [cmp, { name: "masq" }], false],
  ["one less", [cmp, { name: "masq" }], [cmp], false],
  [
    "a flag that is missing",
    [{ name: "lookup", set: "a", register: 1, flags: 1 }],
    [{ name: "lookup", set: "a", register: 1, flags: 0 }],
    false,
  ],
  [
    "a verdict to elsewhere",
    [{ name: "immediate", verdict: { code: "jump", chain: "a" } }],
    [{ name: "immediate", verdict: { code: "jump", chain: "b" } }],
    false,
  ],
] as [string, Expression[], Expression[], boolean][])(
  "of wanted and given rules, %s: told apart",
  (_, wanted, have, same) => {
    expect(sameExpressions(wanted, have)).toBe(same);
  },
);
