import { afterAll, beforeAll, expect, test } from "bun:test";
import { theLink } from "../../../lib/ip/link.ts";
import { assertPath, ensureSubnetRoute } from "../../../lib/ip/subnet-route.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, type Node } from "../../helpers/node.ts";
import { leftOver, snapshot } from "../../helpers/snapshot.ts";

let node: Node;
let ns: Namespace;
beforeAll(async () => {
  node = await makeNode("subnet");
  ns = openNamespace(node.path("/proc/1/ns/net"));
  const commands =
    "ip link add br0 type bridge; ip link set br0 up; ip addr add 10.1.0.1/24 dev br0; ip addr add fd00:1::1/64 dev br0 nodad";
  await node.exec("bash", ["-ec", commands]);
});
afterAll(async () => {
  ns.close();
  await node.close();
});

test("the kernel's way to a link's subnet is put back as it was", async () => {
  const before = await snapshot(node);
  const { index } = theLink(ns, "br0");
  for (const ip of ["10.1.0.7/24", "fd00:1::7/64"]) assertPath(ns, index, ip);
  await node.exec("bash", ["-ec", "ip route delete 10.1.0.0/24; ip -6 route delete fd00:1::/64"]);
  for (const ip of ["10.1.0.7/24", "fd00:1::7/64"])
    expect(() => assertPath(ns, index, ip)).toThrow(expect.objectContaining({ code: 101 }));
  for (const address of ["10.1.0.1/24", "fd00:1::1/64"]) {
    ensureSubnetRoute(ns, index, address);
    ensureSubnetRoute(ns, index, address);
  }
  expect(leftOver(before, await snapshot(node))).toEqual([]);
});

test("another link's way is none", async () => {
  const { index } = theLink(ns, "lo");
  expect(() => assertPath(ns, index, "10.1.0.7")).toThrow(expect.objectContaining({ code: 101 }));
});
