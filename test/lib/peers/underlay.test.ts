import { expect, test } from "bun:test";
import type { Namespace } from "../../../lib/netns/netns.ts";
import { type Paths, pathsOf } from "../../../lib/peers/conf.ts";
import { findUnderlay, footingOf, linkBeside, overheadOf } from "../../../lib/peers/underlay.ts";
import { onNode } from "../../helpers/namespace.ts";
import type { Node } from "../../helpers/node.ts";

const self = (...addresses: string[]) => ({ name: "a", subnets: ["10.1.1.0/24"], addresses });
const paths = (more = {}): Paths => pathsOf("pods", { type: "vxlan", ...more })!;

async function twoLinks(node: Node): Promise<void> {
  await node.exec("bash", [
    "-ec",
    `ip link add one type veth peer name x; ip link add two mtu 9000 type veth peer name y mtu 9000
     for link in one two x y; do ip link set $link up; done
     ip addr add 192.0.2.1/24 dev one; ip addr add 198.51.100.1/25 dev two; ip addr add 2001:db8::1/64 dev two nodad
     ip addr add 203.0.113.7/32 dev lo; ip addr add 10.1.1.1/24 dev x; ip route add default via 192.0.2.254 metric 5
     ip route add default via 198.51.100.126 metric 3`,
  ]);
}

function found(ns: Namespace, more: object, ...addresses: string[]): string {
  const { link, family, local, known } = findUnderlay(ns, paths(more), self(...addresses));
  return `${link.name} ${family} ${local} ${known}`;
}

test("the underlay is the named link, that of the node's address, or of the best default route", async () => {
  await onNode(async ({ node, ns }) => {
    expect(() => findUnderlay(ns, paths(), self("192.0.2.1"))).toThrow(
      'address 192.0.2.1 of node "a", and no default route',
    );
    await twoLinks(node);
    expect(found(ns, {}, "192.0.2.1", "2001:db8::1")).toBe("one 4 192.0.2.1 true");
    expect(found(ns, {}, "2001:db8::1")).toBe("two 6 2001:db8::1 true");
    expect(found(ns, { underlayFamily: "ipv6" }, "192.0.2.1", "2001:db8::1")).toBe("two 6 2001:db8::1 true");
    expect(found(ns, { underlay: "two" }, "198.51.100.1")).toBe("two 4 198.51.100.1 true");
    // Behind address translation, or with a new address: by the default route, from what is there.
    expect(found(ns, {}, "203.0.113.99")).toBe("two 4 198.51.100.1 false");
    expect(found(ns, {})).toBe("two 4 198.51.100.1 true");
    // An address of the loopback, as routers have: another link carries it.
    expect(found(ns, {}, "203.0.113.7")).toBe("two 4 203.0.113.7 true");
    expect(() => findUnderlay(ns, paths({ underlay: "three" }), self())).toThrow(
      'there is no link "three", the underlay',
    );
    await node.exec("ip", ["link", "set", "two", "down"]);
    expect(() => findUnderlay(ns, paths({ underlay: "two" }), self())).toThrow('link "two", the underlay, is down');
  });
});

test("who is beside this host: by the underlay alone where it is named, and never among its own pods", async () => {
  await onNode(async ({ node, ns, ip }) => {
    await twoLinks(node);
    const index = async (name: string) => (await ip("link", "show", name))[0].ifindex;
    const open = findUnderlay(ns, paths(), self("192.0.2.1"));
    const named = findUnderlay(ns, paths({ underlay: "one" }), self("192.0.2.1"));
    expect(linkBeside(open, "192.0.2.77")).toBe(await index("one"));
    expect(linkBeside(open, "198.51.100.77")).toBe(await index("two"));
    expect(linkBeside(open, "198.51.100.200")).toBeUndefined(); // the other half of the /24
    expect(linkBeside(open, "2001:db8::77")).toBe(await index("two"));
    expect(linkBeside(open, "10.1.1.9")).toBeUndefined();
    expect(linkBeside(named, "198.51.100.77")).toBeUndefined();
    await node.exec("ip", ["link", "set", "two", "down"]);
    const less = findUnderlay(ns, paths(), self("192.0.2.1"));
    expect(linkBeside(less, "198.51.100.77")).toBeUndefined();
    expect(footingOf(less)).not.toBe(footingOf(open));
    await node.exec("ip", ["link", "set", "two", "up"]);
    await node.exec("ip", ["addr", "add", "2001:db8::1/64", "dev", "two", "nodad"]);
    expect(footingOf(findUnderlay(ns, paths(), self("192.0.2.1")))).toBe(footingOf(open));
  });
});

test("what a tunnel costs", () => {
  expect([overheadOf(4), overheadOf(6)]).toEqual([50, 70]);
});
