import { expect, test } from "bun:test";
import { createVeth, listLinks } from "../../../lib/ip/link.ts";
import {
  assertConfigured,
  configureInterface,
  inPod,
  inPodIfAny,
  keepingPodsOpen,
  type Namespace,
  wantedRoutes,
} from "../../../lib/ip/pod.ts";
import { onNode } from "../../helpers/namespace.ts";

const ips = [
  { address: "10.1.0.2/16", gateway: "10.1.0.1" },
  { address: "fd00:1::2/64", gateway: "fd00:1::1" },
];

test("a route without a next hop gets the gateway of its family, unless its scope is the link", () => {
  expect(
    wantedRoutes(ips, [
      { dst: "0.0.0.0/0" },
      { dst: "::/0" },
      { dst: "172.16.0.0/12", gw: "10.1.0.9", mtu: 1300 },
      { dst: "192.168.0.0/16", scope: 253 },
    ]),
  ).toEqual([
    { destination: "0.0.0.0/0", gateway: "10.1.0.1" },
    { destination: "::/0", gateway: "fd00:1::1" },
    { destination: "172.16.0.0/12", gateway: "10.1.0.9", mtu: 1300 },
    { destination: "192.168.0.0/16", scope: 253 },
  ] as any);
});

test("an interface gets addresses and routes, is up, and what is missing later is named", () =>
  onNode(async ({ node, ns, pod }) => {
    const pair = createVeth(ns, pod, { hostName: "v0", podName: "eth0" });
    const routes = [{ dst: "0.0.0.0/0", priority: 50 }, { dst: "::/0" }];
    configureInterface(pod, { ifname: "eth0", index: pair.pod.index, ips, routes });
    const result = { ips, routes };
    assertConfigured(pod, pair.pod.index, result);
    const inside = node.execAt("/run/netns/pod");
    const found = (change: object) => () => assertConfigured(pod, pair.pod.index, { ...result, ...change });
    expect(found({ ips: [{ address: "10.1.0.3/16" }] })).toThrow("10.1.0.3/16");
    expect(found({ routes: [{ dst: "0.0.0.0/0", priority: 51 }] })).toThrow("0.0.0.0/0");
    expect(found({ routes: [{ dst: "0.0.0.0/0", gw: "10.1.0.9" }] })).toThrow("10.1.0.9");
    await inside("ip", ["-6", "route", "del", "default"]);
    expect(found({})).toThrow("::/0");
    await inside("ip", ["addr", "del", "10.1.0.2/16", "dev", "eth0"]);
    expect(found({})).toThrow("10.1.0.2/16");
  }));

test("an IPv6 address switches IPv6 on where a runtime switched it off", () =>
  onNode(async ({ node, ns, pod }) => {
    const inside = node.execAt("/run/netns/pod");
    await inside("sysctl", ["-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"]);
    const pair = createVeth(ns, pod, { hostName: "v0", podName: "eth0" });
    configureInterface(pod, { ifname: "eth0", index: pair.pod.index, ips: ips.slice(1), routes: [{ dst: "::/0" }] });
    assertConfigured(pod, pair.pod.index, { ips: ips.slice(1), routes: [{ dst: "::/0" }] });
  }));

test("duplicate detection is waited for where it is wanted", () =>
  onNode(async ({ node, ns, pod }) => {
    const pair = createVeth(ns, pod, { hostName: "v0", podName: "eth0" });
    configureInterface(pod, {
      ifname: "eth0",
      index: pair.pod.index,
      ips: ips.slice(1),
      routes: [{ dst: "::/0" }],
      duplicateDetection: true,
    });
    const { stdout } = await node.execAt("/run/netns/pod")("ip", [
      "-6",
      "addr",
      "show",
      "dev",
      "eth0",
      "scope",
      "global",
    ]);
    expect(stdout).toContain("fd00:1::2/64");
    expect(stdout).not.toContain("tentative");
  }));

test("a pod that is gone is an error for inPod, and nothing to do for inPodIfAny", () =>
  onNode(async ({ node }) => {
    const calls: string[] = [];
    for (const path of ["", node.path("/run/netns/none"), "/etc/hostname"]) inPodIfAny(path, () => calls.push(path));
    expect(calls).toEqual([]);
    expect(() => inPod("/etc/hostname", () => {})).toThrow("no network namespace");
    inPodIfAny(node.path("/run/netns/pod"), (pod) => calls.push(`${pod.fd > 0}`));
    expect(calls).toEqual(["true"]);
    // What goes wrong inside is not mistaken for a missing pod.
    const fail = () => {
      throw new TypeError("inside");
    };
    expect(() => inPodIfAny(node.path("/run/netns/pod"), fail)).toThrow("inside");
  }));

test("pods that are kept open are opened once, and closed at the end whatever happens", () =>
  onNode(async ({ pod: { path } }) => {
    let first: Namespace | undefined;
    const twice = () =>
      keepingPodsOpen(() => {
        first = inPod(path, (pod) => pod);
        expect(listLinks(first, {}).length).toBeGreaterThan(0);
        inPod(path, (pod) => expect(pod).toBe(first!));
        inPodIfAny("/run/netns/none", () => {});
        throw new RangeError("the body's own");
      });
    expect(twice).toThrow("the body's own");
    expect(() => listLinks(first!, {})).toThrow("bad file descriptor");
    inPod(path, (pod) => expect(pod).not.toBe(first!));
  }));
