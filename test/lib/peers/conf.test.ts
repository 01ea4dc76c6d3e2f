import { expect, test } from "bun:test";
import { pathsOf } from "../../../lib/peers/conf.ts";

test("the entry of vxlan: a tunnel to all, with defaults", () => {
  expect(pathsOf("pods", { type: "vxlan" })).toEqual({
    network: "pods",
    file: "/run/tenon/peers/pods.json",
    tunnel: { vni: 1, port: 4789, mtu: undefined, txChecksum: "auto", family: undefined },
    direct: false,
    refuse: false,
    underlay: undefined,
    blackhole: true,
    clusterCidrs: [],
  });
  expect(pathsOf("pods", { type: "vxlan", mtu: 0, underlayFamily: "ipv6", directRouting: true })).toMatchObject({
    tunnel: { mtu: undefined, family: 6 },
    direct: true,
  });
});

test("the entry of routes: a tunnel only where that is said", () => {
  const plain = pathsOf("pods", { type: "routes", metric: 5, table: 9, peers: "/etc/tenon/pods.json" });
  expect(plain).toMatchObject({ file: "/etc/tenon/pods.json", direct: true, refuse: true, metric: 5, table: 9 });
  expect(plain!.tunnel).toBeUndefined();
  expect(pathsOf("pods", { type: "routes", offSubnet: "skip" })).toMatchObject({ refuse: false });
  expect(pathsOf("pods", { type: "routes", offSubnet: "overlay", vni: 9 })).toMatchObject({
    refuse: false,
    tunnel: { vni: 9 },
  });
});

test("other plugins have no paths, and what is wrong is named", () => {
  expect(pathsOf("pods", { type: "bridge" })).toBeUndefined();
  expect(() => pathsOf("pods", { type: "vxlan", vni: -1 })).toThrow("Cannot use vni -1");
  expect(() => pathsOf("pods", { type: "routes", peers: "x" })).toThrow(
    'Cannot use peers "x": must be an absolute path',
  );
});
