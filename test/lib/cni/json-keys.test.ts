import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { firstRepeated, keysAt } from "../../../lib/cni/json-keys.ts";

test.each<[text: string, path: string[], keys: string[]]>([
  ["{}", [], []],
  ['{"a":1,"b":{"c":2},"a":3}', [], ["a", "b", "a"]],
  ['{"a":1,"b":{"c":2,"c":3}}', ["b"], ["c", "c"]],
  ['{"b":{"c":1},"B":{"d":2}}', ["b"], ["c", "d"]],
  ['{"b":[{"c":1},{"b":{"x":1}}],"d":{"b":{"e":1}}}', ["b"], []],
  ['{"x":[1,{"y":2}],"b":{"c":[{"d":1}],"e":null}}', ["b"], ["c", "e"]],
  ['{"args":{"cni":{"sysctl":{"k":"1","k":"2"}}}}', ["args", "cni", "sysctl"], ["k", "k"]],
  ['{ "a\\"}{" : "\\\\", "b" : { "\\u0063" : "}" , "c" : "," } }', ["b"], ["c", "c"]],
  ['{"b":1,"c":{"d":1}}', ["b"], []],
  ['[{"b":{"c":1}}]', ["b"], []],
  ['"b"', [], []],
])("in %s the keys at %j are %j", (text, path, keys) => {
  expect(keysAt(text, path)).toEqual(keys);
});

test("generated: the keys of an object, wherever it is, are those that JSON.parse gives it", () => {
  const key = fc.string({ maxLength: 6 }).filter((text) => text !== "__proto__");
  const inner = fc.dictionary(key, fc.jsonValue({ maxDepth: 3 }));
  const others = fc.dictionary(key, fc.jsonValue({ maxDepth: 3 }), { maxKeys: 3 });
  fc.assert(
    fc.property(inner, others, fc.boolean(), (object, around, indented) => {
      const rest = Object.fromEntries(Object.entries(around).filter(([name]) => name.toLowerCase() !== "sysctl"));
      const text = JSON.stringify({ ...rest, sysctl: object }, null, indented ? 2 : 0);
      const parsed = JSON.parse(text);
      // Keys that look like numbers come first in an object, also when it is written.
      expect(keysAt(text, ["sysctl"])).toEqual(Object.keys(parsed.sysctl));
      expect(keysAt(text, [])).toEqual(Object.keys(parsed));
    }),
  );
});

test("the first key that says what an earlier one says", () => {
  const lower = (key: string) => key.toLowerCase();
  expect(firstRepeated(["a", "b", "A", "B"], lower)).toBe("A");
  expect(firstRepeated(["a", "b"], lower)).toBeUndefined();
});
