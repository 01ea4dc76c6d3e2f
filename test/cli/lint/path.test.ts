import { expect, test } from "bun:test";
import { brief, findings, ipam, list } from "../../helpers/lint.ts";

const rules = ["masquerade", "mtu", "bridge", "paths"];
const of = (...plugins: object[]) => brief(findings(list(plugins)), ...rules);
const bridge = { type: "bridge", ipam };

test("masquerade without exemption beside routes to other nodes", () => {
  for (const type of ["vxlan", "routes"]) {
    expect(of({ ...bridge, ipMasq: true }, { type })).toEqual(["warning masquerade plugins[0].ipMasq"]);
    expect(of({ ...bridge, ipMasq: true, masqExempt: ["10.1.0.0/8"] }, { type })).toEqual([]);
    expect(of({ ...bridge, ipMasq: true }, { type, clusterCidrs: ["10.1.0.0/8"] })).toEqual([]);
    expect(of(bridge, { type })).toEqual([]);
  }
  expect(of({ ...bridge, ipMasq: true })).toEqual([]);
  expect(of({ ...bridge, masqExempt: ["10.1.0.0/8"] })).toEqual(["note masquerade plugins[0].masqExempt"]);
});

test("two ways to other nodes in one network", () => {
  expect(of(bridge, { type: "vxlan" }, { type: "routes" })).toEqual(["error paths plugins[2].type"]);
  expect(of(bridge, { type: "routes" }, { type: "chain", plugins: [{ type: "vxlan" }] })).toEqual([
    "error paths plugins[2].plugins[0].type",
  ]);
  expect(of(bridge, { type: "routes", offSubnet: "overlay" })).toEqual([]);
});

test("MTUs that do not fit", () => {
  const vxlan = { type: "vxlan" };
  expect(of({ ...bridge, mtu: 1500 }, vxlan)).toEqual(["warning mtu plugins[0].mtu"]);
  expect(of({ ...bridge, mtu: 1450 }, vxlan)).toEqual([]);
  expect(of({ ...bridge, mtu: 8950 }, vxlan)).toEqual(["note mtu plugins[0].mtu"]);
  expect(of({ ...bridge, mtu: 1400 }, { type: "tuning", mtu: 1500 })).toEqual(["error mtu plugins[1].mtu"]);
  const six = { type: "host-local", ranges: [[{ subnet: "fd00::/64" }]] };
  expect(of({ type: "bridge", mtu: 1200, ipam: six })).toEqual(["error mtu plugins[0].mtu"]);
  expect(of({ ...bridge, mtu: 1200 })).toEqual([]);
});

test("one bridge with two gateways", () => {
  const file = (name: string, subnet: string, more = {}) =>
    list(
      [{ type: "bridge", isGateway: true, ipam: { type: "host-local", subnet }, ...more }],
      { name },
      `${name}.conflist`,
    );
  const first = file("one", "10.1.0.0/24");
  expect(brief(findings(first, file("two", "10.2.0.0/24")), "bridge")).toEqual(["error bridge plugins[0].bridge"]);
  for (const more of [{ bridge: "other0" }, { isGateway: false }, { forceAddress: true }, { vlan: 7 }])
    expect(brief(findings(first, file("two", "10.2.0.0/24", more)), "bridge")).toEqual([]);
});

test("two networks with one tunnel", () => {
  const file = (name: string, last: object) => list([bridge, last], { name }, `${name}.conflist`);
  const first = file("one", { type: "vxlan", clusterCidrs: ["10.0.0.0/8"] });
  const both = (last: object) => brief(findings(first, file("two", last)), "tunnel");
  expect(both({ type: "vxlan" })).toEqual(["error tunnel plugins[1].vni"]);
  expect(both({ type: "routes", offSubnet: "overlay", vni: 1 })).toEqual(["error tunnel plugins[1].vni"]);
  for (const last of [{ type: "vxlan", vni: 2 }, { type: "vxlan", port: 8472 }, { type: "routes" }])
    expect(both(last)).toEqual([]);
});
