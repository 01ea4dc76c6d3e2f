import { expect, test } from "bun:test";
import { readDocument, valueAt } from "../../../cli/lint/document.ts";
import { brief, findings, list } from "../../helpers/lint.ts";

const first = { type: "bridge", ipam: { type: "static" } };

test("a list, a chain within it, and a single plugin are read alike", () => {
  const report = () => {};
  const inner = [first, { type: "portmap" }];
  const chain = readDocument("a.conflist", list([{ type: "chain", plugins: inner }, { type: "x" }]).text, report)!;
  expect(chain.entries.map(({ path, type, ipam }) => [path, type, ipam])).toEqual([
    ["plugins[0]", "chain", undefined],
    ["plugins[0].plugins[0]", "bridge", "static"],
    ["plugins[0].plugins[1]", "portmap", undefined],
    ["plugins[1]", "x", undefined],
  ]);
  expect(chain.entries[1]!.outer).toBe(chain.entries[0]!);
  const one = readDocument("a.conf", JSON.stringify({ name: "n", ...first }), report)!;
  expect([one.isList, one.name, one.entries[0]!.path]).toEqual([false, "n", ""]);
});

test("what is no configuration is said so, and nothing else is", () => {
  for (const text of ["{", "[]", "7", '{"plugins":[]}', '{"plugins":{}}'])
    expect(findings({ name: "a.conflist", text }).map(({ severity }) => severity)).toEqual(["error"]);
});

test("plugins that are no objects or have no type", () => {
  expect(brief(findings(list([first, 7, {}])), "plugins", "no-type")).toEqual([
    "error plugins plugins[1]",
    "error no-type plugins[2].type",
  ]);
});

test("a list and a single plugin have file names of their own", () => {
  expect(brief(findings(list([first], {}, "a.conf")), "extension")).toEqual(["error extension"]);
  const single = { name: "a.conflist", text: JSON.stringify({ name: "n", cniVersion: "1.1.0", ...first }) };
  expect(brief(findings(single), "extension")).toEqual(["error extension"]);
});

test("a value is found without regard to case", () => {
  expect(valueAt({ IPAM: { Type: "x" } }, "ipam", "type")).toBe("x");
  expect(valueAt({ ipam: 7 }, "ipam", "type")).toBeUndefined();
});
