import { expect, test } from "bun:test";
import {
  appendRule,
  deleteRule,
  dumpRules,
  insertRule,
  placeRule,
  type Rule,
  readRule,
  replaceRule,
} from "../../../lib/nftables/rule.ts";
import { bodyOf, hex, rows } from "../../helpers/bytes.ts";

const chain = { table: { family: "inet", name: "tenon" }, name: "rest" } as const;
const rule: Rule = { chain, expressions: [{ name: "masq" }], comment: "podnet" };

const names = `
  01 00 00 00
  0a 00 01 00            NFTA_RULE_TABLE
  "tenon" 00 00 00
  09 00 02 00            NFTA_RULE_CHAIN
  "rest" 00 00 00 00
`;
const handle = `
  0c 00 03 00            NFTA_RULE_HANDLE
  00 00 00 00
  00 00 00 07
`;
const content = `
  18 00 04 80            NFTA_RULE_EXPRESSIONS
  14 00 01 80            NFTA_LIST_ELEM
  09 00 01 00            NFTA_EXPR_NAME
  "masq" 00 00 00 00
  04 00 02 80            NFTA_EXPR_DATA
  0d 00 07 00            NFTA_RULE_USERDATA
  00 07 "podnet" 00      the comment
  00 00 00               padding
`;
const bytes = (...parts: string[]) => hex(parts.join(""));

test("a rule is appended as nft(8) does it", () => {
  expect(appendRule(rule)).toMatchObject({ type: 0x0a06, flags: 0xc00 });
  expect(appendRule(rule).label).toBe('add rule "podnet" of chain inet tenon rest');
  expect(rows(bodyOf(appendRule(rule)))).toEqual(rows(bytes(names, content)));
  expect(insertRule(rule)).toMatchObject({ type: 0x0a06, flags: 0x400 });
  expect(rows(bodyOf(insertRule(rule)))).toEqual(rows(bytes(names, content)));
});

test("a rule is replaced and deleted by its handle", () => {
  expect(replaceRule({ ...rule, handle: 7n })).toMatchObject({ type: 0x0a06, flags: 0x500 });
  expect(rows(bodyOf(replaceRule({ ...rule, handle: 7n })))).toEqual(rows(bytes(names, handle, content)));
  expect(deleteRule({ chain, handle: 7n })).toMatchObject({ type: 0x0a08, flags: 0 });
  expect(deleteRule({ chain, handle: 7n }).label).toBe("delete rule 7 of chain inet tenon rest");
  expect(rows(bodyOf(deleteRule({ chain, handle: 7n })))).toEqual(rows(bytes(names, handle)));
});

test("the rules of one chain are asked for, and read", () => {
  expect(dumpRules(chain)).toMatchObject({ type: 0x0a07, flags: 0 });
  expect(rows(bodyOf(dumpRules(chain)))).toEqual(rows(bytes(names)));
  expect(readRule({ type: 0x0a06, payload: bytes(names, handle, content) })).toEqual({ ...rule, handle: 7n });
});

test("a rule is placed once, whatever is there", () => {
  const there = (handle: bigint, expressions: Rule["expressions"], comment?: string) => ({
    chain,
    expressions,
    comment,
    handle,
  });
  const changes = (...have: ReturnType<typeof there>[]) =>
    placeRule(rule, have).map(({ label }) => label.split(" of ")[0]!);
  const other: Rule["expressions"] = [{ name: "counter" }];
  expect(changes()).toEqual(['add rule "podnet"']);
  expect(changes(there(3n, rule.expressions), there(4n, rule.expressions, "other"))).toEqual(['add rule "podnet"']);
  expect(changes(there(3n, rule.expressions, "podnet"))).toEqual([]);
  expect(changes(there(3n, other, "podnet"))).toEqual(['replace rule "podnet"']);
  expect(changes(there(3n, rule.expressions, "podnet"), there(4n, other, "podnet"))).toEqual(["delete rule 4"]);
});
