import { expect, test } from "bun:test";
import { findLink } from "../../../lib/ip/link.ts";
import type { Namespace } from "../../../lib/netns/netns.ts";
import {
  baseOf,
  clashing,
  compareDevice,
  compareForwarding,
  type Device,
  deviceName,
  ensureDevice,
  isDeviceOf,
  macOf,
} from "../../../lib/peers/device.ts";
import { onNode } from "../../helpers/namespace.ts";

const device = (link: number, more: Partial<Device> = {}): Device => ({
  ...{
    network: "pods",
    name: "tenon.7",
    mac: "02:00:00:00:00:07",
    mtu: 1450,
    vni: 7,
    port: 4789,
    local: "192.0.2.1",
    link,
  },
  addresses: ["10.1.1.0/32", "fd00:1::/128"],
  ...more,
});

async function onUnderlay(
  body: (ns: Namespace, link: number, run: (line: string) => Promise<unknown>) => Promise<void>,
) {
  await onNode(async ({ node, ns, ip }) => {
    const run = (line: string) => node.exec("bash", ["-ec", line]);
    await run(
      "ip link add one type veth peer name x; ip link set one up; ip addr add 192.0.2.1/24 dev one; ip addr add 192.0.2.9/24 dev one; ip addr add 2001:db8::1/64 dev one nodad",
    );
    await body(ns, (await ip("link", "show", "one"))[0].ifindex, run);
  });
}

test("a MAC address is the node's own, or what every node makes of the same names", () => {
  expect(macOf("pods", 1, { name: "a", mac: "02:00:00:00:00:01" })).toBe("02:00:00:00:00:01");
  expect(macOf("pods", 1, { name: "n1" })).toBe("5a:13:46:8d:2a:70");
  expect(
    new Set([macOf("pods", 1, { name: "a" }), macOf("pods", 2, { name: "a" }), macOf("x", 1, { name: "a" })]).size,
  ).toBe(3);
  expect([deviceName(7), baseOf("10.1.2.0/24")]).toEqual(["tenon.7", "10.1.2.0"]);
});

test("the device is made once, and then changed as long as the kernel can", async () => {
  await onUnderlay(async (ns, link) => {
    const first = ensureDevice(ns, device(link));
    expect(first.changed).toBe(true);
    expect(ensureDevice(ns, device(link))).toEqual({ index: first.index, changed: false });
    expect(compareDevice(ns, device(link))).toEqual([]);
    for (const more of [{ mtu: 1400 }, { mac: "02:00:00:00:00:08" }, { local: "192.0.2.9" }]) {
      expect(compareDevice(ns, device(link, more)).length).toBe(1);
      expect(ensureDevice(ns, device(link, more))).toEqual({ index: first.index, changed: true });
      expect(compareDevice(ns, device(link, more))).toEqual([]);
      ensureDevice(ns, device(link));
    }
    const other = device(link, { addresses: ["10.1.9.0/32"] });
    expect(compareDevice(ns, other).length).toBe(3);
    ensureDevice(ns, other);
    expect(compareDevice(ns, other)).toEqual([]);
    // These only a new device can have.
    for (const more of [{ port: 8472 }, { local: "2001:db8::1", mtu: 1430 }]) {
      expect(ensureDevice(ns, device(link, more)).index).not.toBe(first.index);
      expect(compareDevice(ns, device(link, more))).toEqual([]);
    }
    expect(isDeviceOf(findLink(ns, "tenon.7")!, "pods")).toBe(true);
    expect(isDeviceOf(findLink(ns, "tenon.7")!, "pod")).toBe(false);
  });
});

test("what stands in its place is named, and left alone", async () => {
  await onUnderlay(async (ns, link, run) => {
    await run("ip link add theirs type vxlan id 7 dstport 4789 local 192.0.2.9");
    expect(() => ensureDevice(ns, device(link))).toThrow('link "theirs" has VNI 7 and port 4789 already');
    expect(clashing(ns, device(link))!.name).toBe("theirs");
    expect(compareDevice(ns, device(link))).toEqual(['device tenon.7: "theirs" has VNI 7 and port 4789']);
    await run("ip link del theirs; ip link add tenon.7 type bridge");
    expect(() => ensureDevice(ns, device(link))).toThrow('link "tenon.7" exists and is no vxlan device');
    await run("ip link del tenon.7");
    expect(compareDevice(ns, device(link))).toEqual(["device tenon.7: it is missing"]);
    ensureDevice(ns, device(link, { network: "other" }));
    expect(() => ensureDevice(ns, device(link))).toThrow('VNI 7 belongs to network "other"');
    expect(compareDevice(ns, device(link))[0]).toContain('"other"');
  });
});

test("a host that does not forward is told of", async () => {
  await onUnderlay(async (ns, link, run) => {
    await run("sysctl -qw net.ipv4.ip_forward=0");
    expect(compareForwarding(ns, [4])).toEqual(["net/ipv4/ip_forward is not 1: the host forwards no IPv4 packets"]);
    ensureDevice(ns, device(link));
    expect(compareForwarding(ns, [4, 6])).toEqual([]);
  });
});
