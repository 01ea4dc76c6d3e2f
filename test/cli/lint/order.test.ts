import { expect, test } from "bun:test";
import { brief, findings, ipam, list } from "../../helpers/lint.ts";

const bridge = { type: "bridge", ipam };
const portmap = { type: "portmap", capabilities: { portMappings: true } };
const order = (...plugins: object[]) => brief(findings(list(plugins)), "order", "twice", "unknown-type");

test("first the plugin that makes the interface, then those that work on it", () => {
  expect(order(bridge, portmap, { type: "tuning" }, { type: "firewall" })).toEqual([]);
  expect(order(portmap, bridge)).toEqual(["error order plugins[0].type"]);
  expect(order(bridge, portmap, { type: "ptp", ipam })).toEqual(["error order plugins[2].type"]);
  expect(order(bridge, { type: "host-local" })).toEqual(["error order plugins[1].type"]);
  expect(order(bridge, portmap, portmap)).toEqual(["warning twice plugins[2].type"]);
});

test("a chained plugin alone in a file", () => {
  const text = JSON.stringify({ cniVersion: "1.1.0", name: "n", type: "tuning" });
  expect(brief(findings({ name: "a.conf", text }), "order")).toEqual(["error order type"]);
});

test("somebody else's plugin may make the interface", () => {
  expect(order({ type: "calico" }, portmap)).toEqual(["note unknown-type plugins[0].type"]);
  expect(order({ type: "calico" }, bridge)).toEqual([
    "error order plugins[1].type",
    "note unknown-type plugins[0].type",
  ]);
});

test("a misspelt name, of an IPAM plugin too", () => {
  expect(order({ type: "brigde", ipam: { type: "hostlocal" } })).toEqual([
    "warning unknown-type plugins[0].ipam.type",
    "warning unknown-type plugins[0].type",
  ]);
});

test("within a chain the same holds, and a chain holds none", () => {
  const chain = (...plugins: object[]) => ({ type: "chain", plugins });
  expect(order(chain(bridge, { type: "tuning" }))).toEqual([]);
  expect(order(chain({ type: "tuning" }, bridge))).toEqual(["error order plugins[0].plugins[0].type"]);
  expect(order(chain(bridge, chain({ type: "tuning" })))).toEqual(["error order plugins[0].plugins[1].type"]);
});
