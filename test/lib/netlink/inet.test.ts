import { expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  contains,
  equalBytes,
  familyOf,
  formatCidr,
  formatIp,
  formatMac,
  ipToNumber,
  networkOf,
  numberToIp,
  parseCidr,
  parseIp,
  parseMac,
} from "../../../lib/netlink/inet.ts";
import { hex } from "../../helpers/bytes.ts";

test.each([
  ["0.0.0.0", "00 00 00 00"],
  ["255.255.255.255", "ff ff ff ff"],
  ["10.1.2.3", "0a 01 02 03"],
  ["::", "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"],
  ["::1", "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01"],
  ["2001:db8::", "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 00"],
  ["fd00::5:0:1", "fd 00 00 00 00 00 00 00 00 00 00 05 00 00 00 01"],
  ["1:2:3:4:5:6:7:8", "00 01 00 02 00 03 00 04 00 05 00 06 00 07 00 08"],
])("the address %s is read and written", (text, bytes) => {
  expect(parseIp(text)).toEqual(hex(bytes));
  expect(formatIp(hex(bytes))).toBe(text);
});

test.each([
  ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"], // the dots stand for one group at least, and one alone is written out
  ["::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"],
  ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"], // of two runs as long, the first is shortened (RFC 5952, 4.2.3)
  ["0:0:1:0:0:0:0:0", "0:0:1::"],
  ["00ab::0001", "ab::1"],
  ["64:ff9b::10.0.0.1", "64:ff9b::a00:1"],
  ["::ffff:10.0.0.1", "10.0.0.1"], // Go calls a mapped address the IPv4 address that it is
  ["::FFFF:a00:1", "10.0.0.1"],
  ["::10.0.0.1", "::a00:1"],
])("the address %s is another way to write %s", (text, canonical) => {
  expect(formatIp(parseIp(text)!)).toBe(canonical);
});

test.each([
  ...[
    "",
    "1",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "01.2.3.4",
    "1.2.3.04",
    "1.2.3.4 ",
    " 1.2.3.4",
    "1.2.3.+4",
    "1.2.3.0x4",
  ],
  ...["1..2.3", "1.2.3.", ".1.2.3", "1.2.3.4/24", "１.2.3.4", "1e1.2.3.4", "1.2.3.1000"],
  ...[":", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "12345::"],
  ...[
    "1:",
    ":1",
    "fe80::1%eth0",
    "g::",
    "1.2.3.4::",
    "::1.2.3.4:5",
    "1:2:3:4:5:6:7:1.2.3.4",
    "::1.2.3",
    "::01.2.3.4",
    "[::1]",
  ],
])("%j is no address", (text) => {
  expect(parseIp(text)).toBeUndefined();
});

test.each([
  ["10.0.0.5/24", "10.0.0.0"],
  ["10.255.255.255/9", "10.128.0.0"],
  ["10.1.2.3/0", "0.0.0.0"],
  ["10.1.2.3/32", "10.1.2.3"],
  ["2001:db8:ffff::1/33", "2001:db8:8000::"],
  ["fd00::1/127", "fd00::"],
  ["fd00::1/128", "fd00::1"],
])("%s keeps its host bits and is in network %s", (text, network) => {
  const cidr = parseCidr(text)!;
  expect(formatCidr(cidr)).toBe(text);
  expect(formatIp(networkOf(cidr))).toBe(network);
  expect(contains(cidr, parseIp(network)!)).toBe(true);
});

test("a prefix length may have leading zeros, as in Go", () => {
  expect(formatCidr(parseCidr("10.0.0.0/08")!)).toBe("10.0.0.0/8");
});

test.each([
  ...[
    "10.0.0.0",
    "10.0.0.0/",
    "/8",
    "10.0.0.0/33",
    "::/129",
    "10.0.0.0/-1",
    "10.0.0.0/+8",
    "10.0.0.0/8/8",
    "10.0.0.0/ 8",
  ],
  ...["10.0.0/8", "10.0.0.0/255.0.0.0", "::ffff:10.0.0.0/104", "::ffff:10.0.0.0/8", "10.0.0.0/1e1", "x/8"],
])("%j is no network", (text) => {
  expect(parseCidr(text)).toBeUndefined();
});

test("a network contains what has its prefix, of its own family", () => {
  const network = parseCidr("10.1.128.0/17")!;
  for (const inside of ["10.1.128.0", "10.1.255.255"]) expect(contains(network, parseIp(inside)!)).toBe(true);
  for (const outside of ["10.1.127.255", "10.2.128.0", "a01:8000::"]) {
    expect(contains(network, parseIp(outside)!)).toBe(false);
  }
  expect(contains(parseCidr("::/0")!, parseIp("10.1.128.0")!)).toBe(false);
});

test.each([
  ["02:00:00:00:00:01", "02 00 00 00 00 01"],
  ["ff:ee:dd:cc:bb:aa", "ff ee dd cc bb aa"],
])("the MAC address %s is read and written", (text, bytes) => {
  expect(parseMac(text)).toEqual(hex(bytes));
  expect(formatMac(hex(bytes))).toBe(text);
});

test.each([
  "",
  "02:00:00:00:00",
  "02:00:00:00:00:01:02",
  "2:0:0:0:0:1",
  "02-00-00-00-00-01",
  "02:00:00:00:00:0g",
  "0200.0000.0001",
])("%j is no MAC address", (text) => {
  expect(parseMac(text)).toBeUndefined();
});

test("bytes that are no address are a RangeError", () => {
  for (const length of [0, 3, 5, 15, 17]) expect(() => formatIp(new Uint8Array(length))).toThrow(RangeError);
});

const address = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
);

test("every address survives text and number", () => {
  fc.assert(
    fc.property(address, (bytes) => {
      expect(numberToIp(ipToNumber(bytes), bytes.length)).toEqual(bytes);
      const read = parseIp(formatIp(bytes))!;
      if (read.length === bytes.length) expect(read).toEqual(bytes);
      else expect(equalBytes(read, bytes.subarray(12))).toBe(true);
      expect(familyOf(bytes)).toBe(bytes.length === 4 ? 2 : 10);
    }),
  );
});

test("a network's own address is its number with the host bits cleared", () => {
  fc.assert(
    fc.property(address, fc.nat(128), (ip, some) => {
      const bits = ip.length * 8;
      const prefix = some % (bits + 1);
      const host = BigInt(bits - prefix);
      expect(ipToNumber(networkOf({ ip, prefix }))).toBe((ipToNumber(ip) >> host) << host);
    }),
  );
});

test("any text is an address or none, and never an exception", () => {
  const letters = fc.string({ unit: fc.constantFrom(..."0123456789abfF:.%/ "), maxLength: 45 });
  fc.assert(
    fc.property(letters, (text) => {
      const read = parseIp(text);
      if (read) expect(parseIp(formatIp(read))).toEqual(read);
      const network = parseCidr(text);
      if (network) expect(parseCidr(formatCidr(network))).toEqual(network);
    }),
    { numRuns: 1000 },
  );
});
