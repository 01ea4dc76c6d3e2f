import { expect, test } from "bun:test";
import { suite } from "../../../build/plugins.ts";
import { knownCapabilities } from "../../../cli/lint/capabilities.ts";
import { brief, findings, ipam, list } from "../../helpers/lint.ts";

const rules = ["capabilities", "missing-capability", "no-range"];
const found = (...plugins: object[]) =>
  brief(findings(list(plugins)), ...rules).filter((text) => !text.startsWith("note"));
const bridge = { type: "bridge", ipam };

test("host ports, limits and ranges that never arrive", () => {
  expect(found(bridge, { type: "portmap" })).toEqual(["error missing-capability plugins[1].capabilities"]);
  expect(found(bridge, { type: "portmap", capabilities: { portMappings: true } })).toEqual([]);
  expect(found(bridge, { type: "portmap", capabilities: { portMappings: false } })).toHaveLength(1);
  expect(found(bridge, { type: "bandwidth" })).toEqual(["error missing-capability plugins[1].capabilities"]);
  expect(found(bridge, { type: "bandwidth", ingressRate: 8000, ingressBurst: 8000 })).toEqual([]);
  expect(found({ type: "bridge", ipam: { type: "host-local" } })).toEqual(["error no-range plugins[0].ipam.ranges"]);
  const asked = { type: "bridge", capabilities: { ipRanges: true }, ipam: { type: "host-local" } };
  expect(found(asked)).toEqual([]);
});

test("what a pod cannot ask for is a note", () => {
  expect(brief(findings(list([bridge])), "missing-capability")).toEqual([
    "note missing-capability plugins[0].capabilities",
    "note missing-capability plugins[0].capabilities",
  ]);
  const open = { ...bridge, capabilities: { ips: true, mac: true } };
  expect(brief(findings(list([open])), ...rules)).toEqual([]);
});

test("capabilities that a plugin does not take, and values that are none", () => {
  const [one, ...more] = findings(list([{ type: "loopback", capabilities: { mac: true } }])).filter(
    ({ rule }) => rule === "capabilities",
  );
  expect([one!.severity, one!.path, more.length]).toEqual(["warning", "plugins[0].capabilities.mac", 0]);
  expect(found(bridge, { type: "portmap", capabilities: { portMapping: true, portMappings: true } })).toEqual([
    "warning capabilities plugins[1].capabilities.portMapping",
  ]);
  expect(found({ ...bridge, capabilities: { mac: "yes" } })).toEqual([
    "error capabilities plugins[0].capabilities.mac",
  ]);
  expect(found({ ...bridge, capabilities: [] })).toEqual(["error capabilities plugins[0].capabilities"]);
});

test("a chain asks for what is inside it", () => {
  const portmap = { type: "portmap", capabilities: { portMappings: true } };
  expect(found({ type: "chain", plugins: [bridge, portmap] })).toEqual([
    "error capabilities plugins[0].plugins[1].capabilities.portMappings",
  ]);
  expect(found({ type: "chain", capabilities: { portMappings: true }, plugins: [bridge, portmap] })).toEqual([]);
});

test("capabilities are known from the plugin's table and its IPAM plugin's", () => {
  expect(knownCapabilities({ type: "bridge", ipam: "host-local" }, suite)).toEqual(["mac", "ipRanges", "ips"]);
  expect(knownCapabilities({ type: "calico" }, suite)).toBeUndefined();
});
