import { expect, test } from "bun:test";
import { suite } from "../../../build/plugins.ts";
import { readDocument } from "../../../cli/lint/document.ts";
import { fuse } from "../../../cli/lint/fuse.ts";
import { ipam, list } from "../../helpers/lint.ts";

const bridge = { type: "bridge", ipam, capabilities: { mac: true } };
const portmap = { type: "portmap", capabilities: { portMappings: true, other: false } };
const fused = (plugins: object[], more = {}) => {
  const { name, text } = list(plugins, more);
  return fuse(readDocument(name, text, () => {})!, suite);
};

test("a run of our plugins becomes one entry, which asks for all that they ask for", () => {
  expect(fused([bridge, portmap], { disableCheck: true })).toEqual({
    cniVersion: "1.1.0",
    name: "pods",
    plugins: [{ type: "chain", capabilities: { mac: true, portMappings: true }, plugins: [bridge, portmap] }],
    disableCheck: true,
  });
  const plain = fused([{ type: "bridge" }, { type: "tuning" }]).plugins as any[];
  expect(plain[0].capabilities).toBeUndefined();
});

test("others' plugins stay before and after it, and are refused in between", () => {
  const other = { type: "calico" };
  expect((fused([other, portmap, { type: "tuning" }, other]).plugins as any[]).map(({ type }) => type)).toEqual([
    "calico",
    "chain",
    "calico",
  ]);
  expect(() => fused([bridge, other, portmap])).toThrow(
    'Cannot fuse plugins[1] "calico" of a.conflist: it is none of ours, and stands between two that are',
  );
});

test("what cannot or need not be fused is refused", () => {
  expect(() => fused([{ type: "calico" }])).toThrow("none of them is ours");
  expect(() => fused([bridge])).toThrow("only one of them is ours");
  expect(() => fused([{ type: "chain", plugins: [bridge, portmap] }])).toThrow("it is a chain already");
  const single = readDocument("a.conf", JSON.stringify({ name: "n", ...bridge }), () => {})!;
  expect(() => fuse(single, suite)).toThrow("not a list");
});
