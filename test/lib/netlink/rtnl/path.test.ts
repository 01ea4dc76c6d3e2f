import { expect, test } from "bun:test";
import { findPath } from "../../../../lib/netlink/rtnl/path.ts";
import { readRoutes } from "../../../../lib/netlink/rtnl/route.ts";
import { openNamespace } from "../../../../lib/netns/netns.ts";
import { bodyOf, hex, rows } from "../../../helpers/bytes.ts";
import { makeNode, uplink } from "../../../helpers/node.ts";

test.each([
  [
    "10.1.0.2",
    `02 20 00 00  AF_INET, 32 bits of destination
     00 00 00 00
     00 00 00 00
     08 00 01 00  RTA_DST
     0a 01 00 02`,
  ],
  [
    "fd00:1::2",
    `0a 80 00 00  AF_INET6, 128 bits
     00 00 00 00
     00 00 00 00
     14 00 01 00
     fd 00 00 01 00 00 00 00 00 00 00 00 00 00 00 02`,
  ],
])("the path to %s is asked for as ip-route(8) does", (address, bytes) => {
  expect(findPath({ to: address })).toMatchObject({ label: `find the path to ${address}`, type: 26, flags: 0 });
  expect(rows(bodyOf(findPath({ to: address })))).toEqual(rows(hex(bytes)));
});

test("what is no address is a TypeError", () => {
  expect(() => findPath({ to: "10.1.0.0/24" })).toThrow(TypeError);
});

test("the kernel names the link, and refuses what it cannot reach", async () => {
  await using node = await makeNode("path", { uplink: true });
  const ns = openNamespace(node.path("/proc/1/ns/net"));
  try {
    const index = JSON.parse((await node.exec("ip", ["-j", "link", "show", "eth0"])).stdout)[0].ifindex;
    for (const address of uplink.outside) {
      const [reply] = ns.route.request(findPath({ to: address }));
      expect(readRoutes(reply!.answers[0]!)[0]).toMatchObject({ link: index });
    }
    await node.exec("ip", ["route", "flush", "dev", "eth0"]);
    expect(ns.route.try(findPath({ to: "10.9.9.9" }))[0]!.error?.code).toBe("ENETUNREACH");
  } finally {
    ns.close();
  }
});
