import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { formatCidr, formatIp, networkOf, parseCidr } from "../../../../lib/netlink/inet.ts";
import {
  appendRoute,
  createRoute,
  deleteRoute,
  dumpRoutes,
  type Route,
  readRoutes,
  replaceRoute,
} from "../../../../lib/netlink/rtnl/route.ts";
import { addresses, bodyOf, hex, messageOf, rows } from "../../../helpers/bytes.ts";

const same = (message: Uint8Array, bytes: string) => expect(rows(message)).toEqual(rows(hex(bytes)));

test("ip route add 10.9.0.0/16 via 10.1.2.1 mtu 1300 advmss 1200 metric 50", () => {
  const route = { destination: "10.9.0.0/16", gateway: "10.1.2.1", priority: 50, mtu: 1300, advmss: 1200 };
  same(
    messageOf(createRoute(route)),
    `
    50 00 00 00
    18 00 01 06  RTM_NEWROUTE, REQUEST + EXCL + CREATE
    07 00 00 00
    00 00 00 00
    02 10 00 00  AF_INET, /16
    fe 03 00 01  main, RTPROT_BOOT, universe, RTN_UNICAST
    00 00 00 00  flags
    08 00 01 00 0a 09 00 00  RTA_DST
    08 00 05 00 0a 01 02 01  RTA_GATEWAY
    08 00 06 00 32 00 00 00  RTA_PRIORITY
    14 00 08 80  RTA_METRICS
    08 00 02 00 14 05 00 00  RTAX_MTU
    08 00 08 00 b0 04 00 00  RTAX_ADVMSS
    08 00 0f 00 fe 00 00 00  RTA_TABLE, which iproute2 leaves out under 256
    `,
  );
});

const table = "08 00 0f 00 fe 00 00 00"; // RTA_TABLE main
const destination = "08 00 01 00 0a 09 00 00"; // RTA_DST

const fields: [field: keyof Route, value: unknown, header: string, attributes: string][] = [
  ["destination", "10.9.0.0/16", "02 10 00 00 fe 03 fd 01", `${destination} ${table}`],
  ["link", 2, "02 10 00 00 fe 03 fd 01", `${destination} 08 00 04 00 02 00 00 00 ${table}`],
  ["gateway", "10.1.2.1", "02 10 00 00 fe 03 00 01", `${destination} 08 00 05 00 0a 01 02 01 ${table}`],
  ["priority", 50, "02 10 00 00 fe 03 fd 01", `${destination} 08 00 06 00 32 00 00 00 ${table}`],
  ["source", "10.1.2.3", "02 10 00 00 fe 03 fd 01", `${destination} 08 00 07 00 0a 01 02 03 ${table}`],
  ["mtu", 1300, "02 10 00 00 fe 03 fd 01", `${destination} 0c 00 08 80 08 00 02 00 14 05 00 00 ${table}`],
  ["advmss", 1200, "02 10 00 00 fe 03 fd 01", `${destination} 0c 00 08 80 08 00 08 00 b0 04 00 00 ${table}`],
  ["table", 100, "02 10 00 00 64 03 fd 01", `${destination} 08 00 0f 00 64 00 00 00`],
  ["table", 1000, "02 10 00 00 00 03 fd 01", `${destination} 08 00 0f 00 e8 03 00 00`], // does not fit the header
  ["scope", 254, "02 10 00 00 fe 03 fe 01", `${destination} ${table}`],
  ["protocol", 77, "02 10 00 00 fe 4d fd 01", `${destination} ${table}`],
  ["kind", 7, "02 10 00 00 fe 03 fd 07", `${destination} ${table}`], // RTN_UNREACHABLE
];

test("onlink is a flag of the header, and is read again", () => {
  const message = appendRoute({ destination: "10.9.0.0/16", gateway: "10.1.2.1", onlink: true });
  const bytes = `02 10 00 00 fe 03 00 01 04 00 00 00 ${destination} 08 00 05 00 0a 01 02 01 ${table}`; // RTNH_F_ONLINK
  same(bodyOf(message), bytes);
  expect(readRoutes({ payload: hex(bytes) })[0]!.onlink).toBe(true);
});

test.each(fields)("route %s %p", (field, value, header, attributes) => {
  const bytes = `${header} 00 00 00 00 ${attributes}`;
  same(bodyOf(appendRoute({ destination: "10.9.0.0/16", [field]: value })), bytes);
  expect(readRoutes({ payload: hex(bytes) })).toMatchObject([{ destination: "10.9.0.0/16", [field]: value }]);
});

test("every field of a route has its bytes here", () => {
  const all: Required<Omit<Route, "destination" | "onlink">> = {
    ...{ link: 1, gateway: "", source: "", table: 1, scope: 1, priority: 1, mtu: 1, advmss: 1, protocol: 1, kind: 1 },
  };
  expect(new Set(fields.map(([field]) => field))).toEqual(new Set(["destination", ...Object.keys(all)]) as Set<any>);
});

test.each([
  [{ destination: "10.9.0.0/16" }, "fd", "without a next hop IPv4 routes are of scope link"],
  [{ destination: "10.9.0.0/16", gateway: "10.0.0.1" }, "00", "with one they are universal"],
  [{ destination: "fd00::/64" }, "00", "IPv6 knows no scopes"],
  [{ destination: "10.9.0.0/16", scope: 0 }, "00", "a scope of 0 is a scope"],
])("of %j the scope is 0x%s: %s", (route, scope) => {
  expect(rows(bodyOf(createRoute(route)).subarray(6, 7))).toEqual([scope]);
});

test("a default route has no RTA_DST", () => {
  same(
    bodyOf(createRoute({ destination: "0.0.0.0/0", link: 2 })),
    `02 00 00 00 fe 03 fd 01 00 00 00 00 08 00 04 00 02 00 00 00 ${table}`,
  );
  same(
    bodyOf(createRoute({ destination: "::/0", link: 2 })),
    `0a 00 00 00 fe 03 00 01 00 00 00 00 08 00 04 00 02 00 00 00 ${table}`,
  );
});

test("host bits of the destination are cleared: the kernel refuses them", () => {
  expect(bodyOf(createRoute({ destination: "10.9.1.2/16" }))).toEqual(
    bodyOf(createRoute({ destination: "10.9.0.0/16" })),
  );
});

test("ip -6 route add 2001:db8::/32 via fd00::1 mtu 1300", () => {
  same(
    bodyOf(createRoute({ destination: "2001:db8::/32", gateway: "fd00::1", mtu: 1300 })),
    `
    0a 20 00 00 fe 03 00 01 00 00 00 00
    14 00 01 00 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 00
    14 00 05 00 fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01
    0c 00 08 80 08 00 02 00 14 05 00 00
    ${table}
    `,
  );
});

test("the types and flags of the other messages", () => {
  const route = { destination: "10.9.0.0/16" };
  const head = (message: Parameters<typeof messageOf>[0]) => rows(messageOf(message).subarray(4, 8))[0];
  expect(head(appendRoute(route))).toBe("18 00 01 0c");
  expect(head(replaceRoute(route))).toBe("18 00 01 05");
  expect(head(deleteRoute(route))).toBe("19 00 01 00");
  expect(head(dumpRoutes(2))).toBe("1a 00 01 00");
});

test("ip route del 10.9.0.0/16: of any protocol, kind and scope", () => {
  same(
    bodyOf(deleteRoute({ destination: "10.9.0.0/16" })),
    `02 10 00 00 fe 00 ff 00 00 00 00 00 ${destination} ${table}`,
  );
  same(
    bodyOf(deleteRoute({ destination: "10.9.0.0/16", protocol: 77, scope: 253, kind: 1 })),
    `02 10 00 00 fe 4d fd 01 00 00 00 00 ${destination} ${table}`,
  );
});

// Strict checking (Linux 4.20) takes the family, RTA_TABLE and RTA_OIF.
test("a dump of routes asks for one table, or for all", () => {
  same(bodyOf(dumpRoutes(2)), `02 00 00 00 00 00 00 00 00 00 00 00 ${table}`);
  same(bodyOf(dumpRoutes(10, 1000)), "0a 00 00 00 00 00 00 00 00 00 00 00 08 00 0f 00 e8 03 00 00");
  same(bodyOf(dumpRoutes(10, 0)), "0a 00 00 00 00 00 00 00 00 00 00 00");
});

test("a table that was never used holds nothing: its absence is accepted", () => {
  expect(dumpRoutes(2).accept).toContain("ENOENT");
});

test("what the kernel says of a route (Linux 6.18)", () => {
  const payload = hex(`
    02 10 00 00 fe 4d 00 01 00 00 00 00
    08 00 0f 00 fe 00 00 00
    08 00 01 00 0a 09 00 00
    08 00 06 00 32 00 00 00
    14 00 08 00 08 00 02 00 14 05 00 00 08 00 08 00 b0 04 00 00
    08 00 05 00 0a 01 02 01
    08 00 04 00 02 00 00 00
  `);
  expect(readRoutes({ payload })).toEqual([
    {
      ...{ destination: "10.9.0.0/16", table: 254, priority: 50, mtu: 1300, advmss: 1200 },
      ...{ gateway: "10.1.2.1", link: 2, protocol: 77, scope: 0, kind: 1 },
    },
  ]);
});

test("a route of several next hops is read as one route for each of them (Linux 6.18)", () => {
  const six = hex(`
    0a 20 00 00 fe 03 00 01 00 00 00 00
    08 00 0f 00 fe 00 00 00
    14 00 01 00 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 00
    08 00 06 00 00 04 00 00
    3c 00 09 00  RTA_MULTIPATH
    1c 00 00 00  length 28, flags, weight
    03 00 00 00  link
    14 00 05 00 fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02
    1c 00 00 00
    02 00 00 00
    14 00 05 00 fd 01 00 00 00 00 00 00 00 00 00 00 00 00 00 02
    24 00 0c 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    05 00 14 00 00 00 00 00
  `);
  const common = { destination: "2001:db8::/32", priority: 1024, table: 254, protocol: 3, scope: 0, kind: 1 };
  expect(readRoutes({ payload: six })).toEqual([
    { ...common, link: 3, gateway: "fd00::2" },
    { ...common, link: 2, gateway: "fd01::2" },
  ]);
  const four = hex(`
    02 10 00 00 fe 03 00 01 00 00 00 00
    08 00 0f 00 fe 00 00 00
    08 00 01 00 0a 09 00 00
    1c 00 09 00
    10 00 00 00 03 00 00 00 08 00 05 00 0a 01 00 02
    08 00 00 04 02 00 00 00  by the link alone, weight 5
  `);
  expect(readRoutes({ payload: four }).map(({ link, gateway }) => [link, gateway])).toEqual([
    [3, "10.1.0.2"],
    [2, undefined],
  ]);
});

test.each(["07 00 00 00 03 00 00 00", "09 00 00 00 03 00 00 00", "00 00 00 00 03 00 00 00"])(
  "a next hop of a wrong length is a RangeError: %s",
  (hop) => {
    const payload = hex(`02 10 00 00 fe 03 00 01 00 00 00 00 0c 00 09 00 ${hop}`);
    expect(() => readRoutes({ payload })).toThrow(RangeError);
  },
);

test("what the kernel says of a default route has no destination", () => {
  expect(readRoutes({ payload: hex("02 00 00 00 fe 03 00 01 00 00 00 00") })[0]!.destination).toBe("0.0.0.0/0");
  expect(readRoutes({ payload: hex("0a 00 00 00 fe 03 00 01 00 00 00 00") })[0]!.destination).toBe("::/0");
});

test("wrong routes are refused, by name", () => {
  for (const destination of ["", "10.0.0.0", "x/8", "10.0.0.0/33"]) {
    expect(() => bodyOf(createRoute({ destination }))).toThrow(`Cannot write route to "${destination}": not a network`);
  }
  expect(() => bodyOf(createRoute({ destination: "10.0.0.0/8", gateway: "x" }))).toThrow(TypeError);
  for (const wrong of [
    { scope: 256 },
    { protocol: -1 },
    { kind: 1.5 },
    { table: 2 ** 32 },
    { mtu: -1 },
    { link: -1 },
  ]) {
    expect(() => bodyOf(createRoute({ destination: "10.0.0.0/8", ...wrong }))).toThrow(RangeError);
  }
});

test("less than a header is a RangeError", () => {
  for (const length of [0, 11]) expect(() => readRoutes({ payload: new Uint8Array(length) })).toThrow(RangeError);
});

const number = fc.nat(0xffffffff);
const byte = fc.nat(255);

test("routes survive the wire", () => {
  const generated = addresses.any.chain((ip) => {
    const same = ip.includes(":") ? addresses.ip6 : addresses.ip4;
    const prefix = fc.nat(ip.includes(":") ? 128 : 32);
    const base = { destination: prefix.map((length) => networkText(`${ip}/${length}`)), gateway: same, source: same };
    const rest = { link: number, priority: number, table: number, mtu: number, advmss: number };
    const header = { scope: byte, protocol: byte, kind: byte };
    return fc.record(
      { ...base, ...rest, ...header },
      {
        requiredKeys: ["destination", "table", "scope", "protocol", "kind"],
        noNullPrototype: true,
      },
    );
  });
  fc.assert(
    fc.property(generated, (route) => {
      expect(readRoutes({ payload: bodyOf(createRoute(route as Route)) })).toEqual([route as Route]);
    }),
  );
});

function networkText(text: string): string {
  const cidr = parseCidr(text)!;
  return formatCidr(parseCidr(`${formatIp(networkOf(cidr))}/${cidr.prefix}`)!);
}
