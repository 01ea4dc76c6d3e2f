// With a VLAN: test/kernels/bridge.test.ts, as this needs VLAN filtering.
import { expect, test } from "bun:test";
import { listAddresses } from "../../../lib/ip/address.ts";
import { ensureGatewayLink, gatewayParts, openGateway, sweepGateway } from "../../../lib/ip/gateway.ts";
import { ensureBridge, findLink } from "../../../lib/ip/link.ts";
import { readSysctl } from "../../../lib/ip/sysctl.ts";
import { onNode } from "../../helpers/namespace.ts";

const ips = [
  { address: "10.1.0.7/24", gateway: "10.1.0.1" },
  { address: "fd00:1::7/64", gateway: "fd00:1::1" },
];
const plain = { forceAddress: false };

test("without a VLAN the bridge has the gateways, each family that has one is forwarded, and GC leaves the bridge", () =>
  onNode(async ({ ns }) => {
    const bridge = ensureBridge(ns, { name: "br0" });
    expect(ensureGatewayLink(ns, bridge, plain)).toBe(bridge);
    expect(ensureGatewayLink(ns, bridge, { ...plain, vlan: 0 })).toBe(bridge);
    openGateway(ns, bridge, ips.slice(0, 1), plain);
    const forwarded = () => ["ipv4/ip_forward", "ipv6/conf/all/forwarding"].map((name) => readSysctl(ns, name));
    expect(forwarded()).toEqual(["1", "0"]);
    openGateway(ns, bridge, ips, plain);
    expect(forwarded()).toEqual(["1", "1"]);
    const have = listAddresses(ns, bridge.index).map(({ ip, prefix }) => `${ip}/${prefix}`);
    expect(have).toEqual(expect.arrayContaining(["10.1.0.1/24", "fd00:1::1/64"]));
    sweepGateway(ns, "br0", plain);
    expect(findLink(ns, "br0")).toBeDefined();
  }));

test("another address of the bridge gives way only if it is told so", () =>
  onNode(async ({ ns }) => {
    const bridge = ensureBridge(ns, { name: "br0" });
    openGateway(ns, bridge, ips, plain);
    const other = [{ address: "10.2.0.7/24", gateway: "10.2.0.1" }];
    expect(() => openGateway(ns, bridge, other, plain)).toThrow("10.1.0.1/24");
    openGateway(ns, bridge, other, { forceAddress: true });
    expect(listAddresses(ns, bridge.index).filter(({ ip }) => ip.startsWith("10."))).toMatchObject([
      { ip: "10.2.0.1" },
    ]);
  }));

test("its parts are the addresses and the routes of the subnets: whatever is taken away is missed, and made again", () =>
  onNode(async ({ ns, node }) => {
    openGateway(ns, ensureBridge(ns, { name: "br0" }), ips, plain);
    const parts = gatewayParts(ns, "br0", plain, ips);
    expect(parts.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      "address 10.1.0.1/24 of br0",
      "route to 10.1.0.7/24 by br0",
      "address fd00:1::1/64 of br0",
      "route to fd00:1::7/64 by br0",
    ]);
    for (const part of parts) part.check();
    const commands = ["ip address delete 10.1.0.1/24 dev br0", "ip -6 route delete fd00:1::/64 dev br0"];
    await node.exec("bash", ["-ec", commands.join("; ")]);
    const missing = () =>
      parts.flatMap((part) => {
        try {
          part.check();
          return [];
        } catch (error) {
          expect(error).toMatchObject({ code: 101 });
          return part.name;
        }
      });
    expect(missing()).toEqual(["10.1.0.1/24 of br0", "to 10.1.0.7/24 by br0", "to fd00:1::7/64 by br0"]);
    for (const part of parts) part.ensure(false);
    expect(missing()).toEqual([]);
  }));
