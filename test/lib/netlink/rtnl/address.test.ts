import { expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  type Address,
  createAddress,
  deleteAddress,
  dumpAddresses,
  IFA_F_NODAD,
  IFA_F_PERMANENT,
  IFA_F_TENTATIVE,
  readAddress,
  replaceAddress,
} from "../../../../lib/netlink/rtnl/address.ts";
import { addresses, bodyOf, hex, messageOf, rows } from "../../../helpers/bytes.ts";

const same = (message: Uint8Array, bytes: string) => expect(rows(message)).toEqual(rows(hex(bytes)));

const four: Address = { index: 2, ip: "10.1.2.3", prefix: 24 };
const local = "08 00 02 00 0a 01 02 03 08 00 01 00 0a 01 02 03"; // IFA_LOCAL, IFA_ADDRESS
const six: Address = { index: 2, ip: "fd00::5", prefix: 64 };
const local6 = "14 00 02 00 fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 05";
const address6 = "14 00 01 00 fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 05";

test("adding an IPv4 address, as iproute2 does it: ip addr add 10.1.2.3/24 dev br0", () => {
  same(
    messageOf(createAddress(four)),
    `
    28 00 00 00
    14 00 01 06  RTM_NEWADDR, REQUEST + EXCL + CREATE
    07 00 00 00
    00 00 00 00
    02 18 00 00  AF_INET, /24, no flags, scope universe
    02 00 00 00  index
    08 00 02 00 0a 01 02 03  IFA_LOCAL
    08 00 01 00 0a 01 02 03  IFA_ADDRESS
    `,
  );
});

const fields: [field: keyof Address, value: unknown, header: string, attribute: string][] = [
  ["index", 7, "02 18 00 00 07 00 00 00", ""],
  ["ip", "10.1.2.3", "02 18 00 00 02 00 00 00", ""],
  ["prefix", 32, "02 20 00 00 02 00 00 00", ""],
  ["scope", 253, "02 18 00 fd 02 00 00 00", ""],
  ["broadcast", "10.1.2.255", "02 18 00 00 02 00 00 00", "08 00 04 00 0a 01 02 ff"],
  ["label", "br0:x", "02 18 00 00 02 00 00 00", '0a 00 03 00 "br0:x" 00 00 00'],
  ["flags", IFA_F_NODAD, "02 18 02 00 02 00 00 00", "08 00 08 00 02 00 00 00"],
  ["flags", 0x200, "02 18 00 00 02 00 00 00", "08 00 08 00 00 02 00 00"], // the header's byte holds but the low ones
];

test.each(fields)("address %s %p", (field, value, header, attribute) => {
  const address = { ...four, [field]: value };
  same(bodyOf(createAddress(address)), `${header} ${local} ${attribute}`);
  expect(readAddress({ payload: hex(`${header} ${local} ${attribute}`) })).toMatchObject({ [field]: value });
});

test("every field of an address has its bytes here", () => {
  const all: Required<Address> = { index: 1, ip: "", prefix: 1, broadcast: "", flags: 1, scope: 1, label: "" };
  expect(new Set(fields.map(([field]) => field))).toEqual(new Set(Object.keys(all)) as Set<any>);
});

test("adding an IPv6 address without duplicate detection: ip addr add fd00::5/64 dev br0 nodad", () => {
  same(
    bodyOf(createAddress({ ...six, flags: IFA_F_NODAD })),
    `0a 40 02 00 02 00 00 00 ${local6} ${address6} 08 00 08 00 02 00 00 00`,
  );
});

test("the types and flags of the other messages", () => {
  const head = (message: Parameters<typeof messageOf>[0]) => rows(messageOf(message).subarray(4, 8))[0];
  expect(head(replaceAddress(four))).toBe("14 00 01 05");
  expect(head(deleteAddress(four))).toBe("15 00 01 00");
  expect(head(dumpAddresses(2))).toBe("16 00 01 00");
});

test("deleting is as iproute2 does it: ip addr del fd00::5/64 dev br0", () => {
  same(bodyOf(deleteAddress(six)), `0a 40 00 00 02 00 00 00 ${local6} ${address6}`);
});

// Strict checking (Linux 4.20) takes nothing but the family and the index.
test("a dump of addresses asks for one link, of every family", () => {
  same(bodyOf(dumpAddresses(2)), "00 00 00 00 02 00 00 00");
});

test("what the kernel says of an IPv4 address (Linux 6.18)", () => {
  const payload = hex(`
    02 18 80 00
    02 00 00 00
    08 00 01 00 0a 01 02 03
    08 00 02 00 0a 01 02 03
    08 00 04 00 0a 01 02 ff
    08 00 03 00 "br0" 00
    08 00 08 00 80 00 00 00
    14 00 06 00 ff ff ff ff ff ff ff ff 65 c1 04 00 65 c1 04 00  IFA_CACHEINFO
  `);
  expect(readAddress({ payload })).toEqual({
    index: 2,
    ip: "10.1.2.3",
    prefix: 24,
    scope: 0,
    broadcast: "10.1.2.255",
    label: "br0",
    flags: IFA_F_PERMANENT,
  });
});

test("what the kernel says of an IPv6 address has no IFA_LOCAL", () => {
  const payload = hex(`
    0a 40 c0 fd
    02 00 00 00
    14 00 01 00 fe 80 00 00 00 00 00 00 00 00 00 ff fe 00 00 aa
    08 00 08 00 c0 00 00 00
    05 00 0b 00 03 00 00 00  IFA_PROTO, which came with Linux 5.18
  `);
  expect(readAddress({ payload })).toMatchObject({
    ip: "fe80::ff:fe00:aa",
    prefix: 64,
    scope: 253,
    flags: IFA_F_PERMANENT | IFA_F_TENTATIVE,
  });
});

test("of a point-to-point address the local one is told, not the other end's", () => {
  const payload = hex("02 20 80 00 02 00 00 00 08 00 01 00 0a 00 00 02 08 00 02 00 0a 00 00 01");
  expect(readAddress({ payload }).ip).toBe("10.0.0.1");
});

test("without the attribute the flags are those of the header, as kernels before 3.14 say it", () => {
  expect(readAddress({ payload: hex(`02 18 80 00 02 00 00 00 ${local}`) }).flags).toBe(IFA_F_PERMANENT);
});

test("wrong addresses are refused, by name", () => {
  expect(() => bodyOf(createAddress({ ...four, ip: "10.1.2" }))).toThrow(TypeError);
  expect(() => bodyOf(createAddress({ ...four, broadcast: "x" }))).toThrow(TypeError);
  for (const prefix of [33, -1, 1.5]) {
    expect(() => bodyOf(createAddress({ ...four, prefix }))).toThrow(RangeError);
  }
  expect(() => bodyOf(createAddress({ ...six, prefix: 129 }))).toThrow(RangeError);
  expect(() => bodyOf(createAddress({ ...six, index: -1 }))).toThrow(RangeError);
});

test("less than a header is a RangeError", () => {
  for (const length of [0, 7]) expect(() => readAddress({ payload: new Uint8Array(length) })).toThrow(RangeError);
});

test("addresses survive the wire", () => {
  const generated = fc.record(
    {
      index: fc.nat(),
      ip: addresses.any,
      prefix: fc.nat(32),
      scope: fc.nat(255),
      flags: fc.nat(0xffffffff),
      broadcast: addresses.ip4,
      label: fc.string({ maxLength: 15 }).filter((text) => !text.includes("\0")),
    },
    { requiredKeys: ["index", "ip", "prefix", "scope", "flags"], noNullPrototype: true },
  );
  fc.assert(
    fc.property(generated, (address) => {
      expect(readAddress({ payload: bodyOf(createAddress(address)) })).toEqual(address);
    }),
  );
});
