import { expect, test } from "bun:test";
import {
  awaitCarrier,
  createVeth,
  ensureBridge,
  ensurePort,
  findLink,
  isPort,
  isPromiscuous,
  isUp,
  listLinks,
  removeLink,
  removeLinks,
  setLinkUp,
  theLink,
} from "../../../lib/ip/link.ts";
import { IF_OPER_UP } from "../../../lib/netlink/rtnl/link.ts";
import { onNode } from "../../helpers/namespace.ts";

test("a link is found by name and by index, and a missing one is undefined", () =>
  onNode(async ({ ns }) => {
    const lo = findLink(ns, "lo")!;
    expect(lo).toMatchObject({ name: "lo", index: 1, mtu: 65536 });
    expect(findLink(ns, 1)).toEqual(lo);
    expect(findLink(ns, "none")).toBeUndefined();
    expect(findLink(ns, 4711)).toBeUndefined();
  }));

test("ensureBridge makes a bridge once, sets it up, keeps its MAC address when ports come, and refuses other kinds", () =>
  onNode(async ({ ns, pod, ip }) => {
    const made = ensureBridge(ns, { name: "br0", mtu: 1400 });
    expect(made).toMatchObject({ name: "br0", mtu: 1400, info: { kind: "bridge" } });
    expect(isUp(made)).toBe(true);
    createVeth(ns, pod, {
      hostName: "v0",
      podName: "eth0",
      hostMac: "02:00:00:00:00:01",
      mtu: 1400,
      master: made.index,
    });
    const again = ensureBridge(ns, { name: "br0", mtu: 9000, promiscuous: true });
    expect(again).toMatchObject({ index: made.index, mac: made.mac!, mtu: 1400 });
    expect(isPromiscuous(findLink(ns, "br0")!)).toBe(true);
    expect((await ip("link", "show", "br0"))[0].address).toBe(made.mac);
    expect(() => ensureBridge(ns, { name: "v0" })).toThrow('Cannot use bridge "v0"');
  }));

test("createVeth makes both ends with their names, addresses, MTU, port settings and alias", () =>
  onNode(async ({ node, ns, pod, ip }) => {
    const bridge = ensureBridge(ns, { name: "br0" });
    const pair = createVeth(ns, pod, {
      hostName: "v0",
      podName: "eth0",
      hostMac: "02:00:00:00:00:01",
      podMac: "02:00:00:00:00:02",
      mtu: 1400,
      master: bridge.index,
      port: { hairpin: true, isolated: true },
      alias: "net/c1/eth0",
    });
    const [outer] = await ip("link", "show", "v0");
    expect(outer).toMatchObject({ ifindex: pair.host.index, address: "02:00:00:00:00:01", mtu: 1400, master: "br0" });
    expect(outer.ifalias).toBe("net/c1/eth0");
    expect(outer.linkinfo.info_slave_data).toMatchObject({ hairpin: true, isolated: true });
    const [inner] = JSON.parse((await node.execAt("/run/netns/pod")("ip", ["-j", "link", "show", "eth0"])).stdout);
    expect(inner).toMatchObject({ ifindex: pair.pod.index, address: "02:00:00:00:00:02", mtu: 1400 });
    expect(inner.flags).not.toContain("UP");
    setLinkUp(pod, pair.pod.index);
    expect(isUp(findLink(pod, "eth0")!)).toBe(true);
  }));

test("createVeth leaves nothing when a name is taken or a setting is refused", () =>
  onNode(async ({ ns, pod }) => {
    createVeth(ns, pod, { hostName: "v0", podName: "eth0" });
    const before = listLinks(ns).length;
    expect(() => createVeth(ns, pod, { hostName: "v1", podName: "eth0" })).toThrow("file exists");
    expect(() => createVeth(ns, pod, { hostName: "v0", podName: "eth1" })).toThrow("file exists");
    // No port without a bridge.
    expect(() => createVeth(ns, pod, { hostName: "v2", podName: "eth2", port: { hairpin: true } })).toThrow();
    expect(listLinks(ns).length).toBe(before);
    expect(findLink(pod, "eth2")).toBeUndefined();
  }));

test("a port that lost its bridge, its settings or its state is told and made one again", () =>
  onNode(async ({ ns, pod }) => {
    const { index } = ensureBridge(ns, { name: "br0", mac: "02:00:00:00:00:05" });
    expect(theLink(ns, "br0").mac).toBe("02:00:00:00:00:05");
    const settings = { hairpin: true, isolated: false };
    createVeth(ns, pod, { hostName: "v0", podName: "eth0" });
    expect(isPort(theLink(ns, "v0"), index)).toBe(false);
    for (const _ of ["made", "as it is"]) {
      ensurePort(ns, theLink(ns, "v0"), index, settings);
      expect(isPort(theLink(ns, "v0"), index, settings)).toBe(true);
    }
    expect(isPort(theLink(ns, "v0"), index, { hairpin: false })).toBe(false);
    setLinkUp(ns, theLink(ns, "v0").index, false);
    expect(isPort(theLink(ns, "v0"), index, settings)).toBe(false);
    expect(() => theLink(ns, "none")).toThrow('Cannot find link "none"');
  }));

test("removeLink tells whether there was one; removeLinks takes many at once and no other", () =>
  onNode(async ({ ns, pod }) => {
    for (let i = 0; i < 5; i++) createVeth(ns, pod, { hostName: `v${i}`, podName: `eth${i}` });
    expect(removeLink(ns, { name: "v0" })).toBe(true);
    expect(removeLink(ns, { name: "v0" })).toBe(false);
    const dead = listLinks(ns, { kind: "veth" }).filter(({ name }) => name !== "v4");
    expect(dead.length).toBe(3);
    removeLinks(ns, dead);
    removeLinks(ns, dead); // gone already
    expect(listLinks(ns, { kind: "veth" }).map(({ name }) => name)).toEqual(["v4"]);
    expect(listLinks(pod, { kind: "veth" }).map(({ name }) => name)).toEqual(["eth4"]);
    expect(findLink(ns, "v4")!.group ?? 0).toBe(0);
  }));

test("awaitCarrier: a port and the bridge that it is the first of can send when the pod's end is up, and not before", () =>
  onNode(async ({ ns, pod }) => {
    const states = () => Object.fromEntries(listLinks(ns).map(({ name, operState }) => [name, operState]));
    // The kernel is mostly, but not always, quicker than a look at its list, which unlike one at a link waits for nothing.
    for (let round = 0; round < 20; round++) {
      const bridge = ensureBridge(ns, { name: "br0" });
      const pair = createVeth(ns, pod, { hostName: "v0", podName: "eth0", master: bridge.index });
      setLinkUp(pod, pair.pod.index);
      awaitCarrier(ns, pair.host, bridge);
      expect(states()).toMatchObject({ v0: IF_OPER_UP, br0: IF_OPER_UP });
      removeLinks(ns, [pair.host, bridge]);
    }
    const alone = createVeth(ns, pod, { hostName: "v0", podName: "eth0" });
    const refusal = expect.objectContaining({ code: 100, message: expect.stringContaining('"v0"') });
    expect(() => awaitCarrier(ns, alone.host)).toThrow(refusal);
    expect(() => awaitCarrier(ns, { ...alone.host, index: 4711 })).toThrow(expect.objectContaining({ code: "ENODEV" }));
  }));
