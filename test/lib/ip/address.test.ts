import { expect, test } from "bun:test";
import {
  addressOf,
  awaitLocal,
  ensureGatewayAddress,
  firstAddress,
  listAddresses,
  waitForAddresses,
} from "../../../lib/ip/address.ts";
import { ensureBridge } from "../../../lib/ip/link.ts";
import { parseCidr } from "../../../lib/netlink/inet.ts";
import { createAddress } from "../../../lib/netlink/rtnl/address.ts";
import { findPath } from "../../../lib/netlink/rtnl/path.ts";
import { RTN_LOCAL, readRoutes } from "../../../lib/netlink/rtnl/route.ts";
import { onNode } from "../../helpers/namespace.ts";

test("an IPv4 address comes with its broadcast address, an IPv6 one without duplicate detection", () => {
  const at = (text: string, detection = false) => addressOf(7, parseCidr(text)!, detection);
  expect(at("10.1.2.3/16")).toEqual({ index: 7, ip: "10.1.2.3", prefix: 16, broadcast: "10.1.255.255" });
  expect(at("10.1.2.3/30").broadcast).toBe("10.1.2.3");
  expect(at("10.1.2.3/31").broadcast).toBeUndefined();
  expect(at("fd00::3/64")).toEqual({ index: 7, ip: "fd00::3", prefix: 64, flags: 2 });
  expect(at("fd00::3/64", true).flags).toBeUndefined();
});

test("the first address of a network", () => {
  expect(firstAddress("10.1.2.3/16")).toBe("10.1.0.1");
  expect(firstAddress("fd00:1::77/64")).toBe("fd00:1::1");
});

// The matrix of the reference: what is there, what is wanted, whether it clashes.
const matrix: [string, string, boolean][] = [
  ["10.1.0.1/16", "10.1.0.1/16", false],
  ["10.1.0.1/16", "10.1.0.2/16", true],
  ["10.1.0.1/16", "10.2.0.1/16", true],
  ["10.1.0.1/16", "fd00::1/64", false],
  ["fd00::1/64", "fd00::1/64", false],
  ["fd00::1/64", "fd00::2/64", true],
  ["fd00::1/64", "fd00::1:1/48", true],
  ["fd00::1/64", "fd00:1::1/64", false],
];

for (const [has, wanted, clashes] of matrix) {
  test(`a bridge with ${has} ${clashes ? "gets" : "takes"} ${wanted}${clashes ? " only by force" : ""}`, () =>
    onNode(async ({ ns }) => {
      const bridge = ensureBridge(ns, { name: "br0" });
      ensureGatewayAddress(ns, bridge, has, false);
      const global = () =>
        listAddresses(ns, bridge.index)
          .filter(({ scope }) => scope === 0)
          .map(({ ip, prefix }) => `${ip}/${prefix}`)
          .sort();
      if (clashes) {
        expect(() => ensureGatewayAddress(ns, bridge, wanted, false)).toThrow(`has address ${has}`);
        expect(global()).toEqual([has]);
        ensureGatewayAddress(ns, bridge, wanted, true);
        expect(global()).toEqual([wanted]);
      } else {
        ensureGatewayAddress(ns, bridge, wanted, false);
        ensureGatewayAddress(ns, bridge, wanted, false);
        expect(global()).toEqual([...new Set([has, wanted])].sort());
      }
    }));
}

test("two old addresses of one subnet make room together, as the kernel takes the second with the first", () =>
  onNode(async ({ ns, node }) => {
    const bridge = ensureBridge(ns, { name: "br0" });
    await node.exec("sh", ["-ec", "for last in 1 5; do ip addr add 10.1.0.$last/24 dev br0; done"]);
    ensureGatewayAddress(ns, bridge, "10.2.0.1/24", true);
    expect(listAddresses(ns, bridge.index).filter(({ ip }) => ip.startsWith("10."))).toMatchObject([
      { ip: "10.2.0.1" },
    ]);
  }));

test("awaitLocal: what is sent to a new address of IPv6 arrives, and one that nobody has is let be after a while", () =>
  onNode(async ({ ns }) => {
    const bridge = ensureBridge(ns, { name: "br0" });
    const kinds = (to: string) =>
      ns.route
        .try(findPath({ to }))[0]!
        .answers.flatMap(readRoutes)
        .map(({ kind }) => kind);
    for (let last = 1; last <= 50; last++) {
      const text = `fd00:${last}::1/64`;
      ns.route.request(createAddress(addressOf(bridge.index, parseCidr(text)!)));
      awaitLocal(ns, [text, "10.1.0.1/24"]);
      expect(kinds(`fd00:${last}::1`)).toEqual([RTN_LOCAL]);
    }
    awaitLocal(ns, ["fd00:99::1"]);
  }));

test("waiting for duplicate detection ends when it has, and names an address that another host has", () =>
  onNode(async ({ ns, node }) => {
    const bridge = ensureBridge(ns, { name: "br0" });
    ns.route.request(createAddress(addressOf(bridge.index, parseCidr("fd00::1/64")!)));
    waitForAddresses(ns, bridge.index);
    // Two ends of one cable with one address: the second to come finds the first.
    await node.exec("sh", [
      "-c",
      "ip link add name one type veth peer name two netns pod && ip -n pod link set two up && ip link set one up",
    ]);
    await node.exec("ip", ["-n", "pod", "addr", "add", "fd00:2::1/64", "dev", "two", "nodad"]);
    await Bun.sleep(100);
    await node.exec("ip", ["addr", "add", "fd00:2::1/64", "dev", "one"]);
    const index = JSON.parse((await node.exec("ip", ["-j", "link", "show", "one"])).stdout)[0].ifindex;
    expect(() => waitForAddresses(ns, index)).toThrow("fd00:2::1");
  }));
