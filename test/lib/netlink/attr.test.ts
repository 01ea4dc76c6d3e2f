import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  attrs,
  be16,
  be32,
  be64,
  bool,
  bytes,
  eachAttr,
  flag,
  i32,
  ip,
  list,
  mac,
  struct,
  type Type,
  text,
  u8,
  u16,
  u32,
  u64,
  Writer,
  writeAttr,
} from "../../../lib/netlink/attr.ts";
import { hex, rows, valuesOf, written } from "../../helpers/bytes.ts";

const types: Record<string, Type<any>> = {
  ...{ u8, u16, u32, i32, be16, be32, u64, be64, flag, bool, text, bytes, ip, mac },
};

const payloads: [name: string, value: unknown, bytes: string][] = [
  ["u8", 0xfe, "fe"],
  ["u16", 0x1234, "34 12  host order"],
  ["u32", 0x12345678, "78 56 34 12"],
  ["i32", -2, "fe ff ff ff"],
  ["be16", 4789, "12 b5  network order"],
  ["be32", 0x12345678, "12 34 56 78"],
  ["u64", 0x123456789abcdef0n, "f0 de bc 9a 78 56 34 12"],
  ["be64", 0x123456789abcdef0n, "12 34 56 78 9a bc de f0"],
  ["flag", true, ""],
  ["bool", true, "01"],
  ["bool", false, "00"],
  ["text", "eth0", '"eth0" 00'],
  ["text", "", "00"],
  ["text", "é", "c3 a9 00  UTF-8"],
  ["bytes", hex("01 02 03"), "01 02 03"],
  ["ip", "10.1.2.3", "0a 01 02 03"],
  ["ip", "fd00::1", "fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01"],
  ["mac", "02:00:00:00:00:01", "02 00 00 00 00 01"],
];

test.each(payloads)("%s %p is read and written", (name, value, wire) => {
  const type = types[name]!;
  expect(rows(written(type, value))).toEqual(rows(hex(wire)));
  expect(type.read(hex(wire))).toEqual(value);
});

test("every type has its bytes here", () => {
  expect(new Set(payloads.map(([name]) => name))).toEqual(new Set(Object.keys(types)));
});

const inner = attrs({ id: [1, u32] });
const table = attrs({ size: [2, u16], inner: [5, inner], all: [6, list(1, u8)], here: [7, flag] });

test("an attribute is its length, its type, its payload and padding; a nest says that it is one", () => {
  const value = { size: 1500, inner: { id: 42 }, all: [1, 2], here: true };
  const bytes = hex(`
    06 00 02 00  length 6, size
    dc 05 00 00  1500, two bytes of padding that no length counts
    0c 00 05 80  inner, with NLA_F_NESTED
    08 00 01 00  its id
    2a 00 00 00  42
    14 00 06 80  all
    05 00 01 00
    01 00 00 00
    05 00 01 00
    02 00 00 00
    04 00 07 00  here: nothing but the header
  `);
  expect(rows(written(table, value))).toEqual(rows(bytes));
  expect(table.read(bytes)).toEqual(value);
});

test("what is undefined, or a flag that is false, is not written", () => {
  expect(written(table, { size: undefined, here: false })).toEqual(new Uint8Array(0));
  expect(table.read(new Uint8Array(0))).toEqual({});
});

test("attributes that the table does not know are skipped, flags of the type ignored", () => {
  const bytes = hex(`
    07 00 63 00  type 99
    01 02 03 00
    06 00 02 40  size, with NLA_F_NET_BYTEORDER
    dc 05 00 00
    04 00 00 00  type 0
  `);
  expect(table.read(bytes)).toEqual({ size: 1500 });
});

test("the padding of the last attribute may be missing", () => {
  expect(table.read(hex("06 00 02 00 dc 05"))).toEqual({ size: 1500 });
});

test("of an attribute that comes twice the last one counts", () => {
  expect(table.read(hex("06 00 02 00 01 00 00 00 06 00 02 00 02 00 00 00"))).toEqual({ size: 2 });
});

test.each(["sise", "constructor", "toString", "__proto__"])("the unknown name %p is a TypeError", (name) => {
  expect(() => written(table, JSON.parse(`{"${name}": 1}`))).toThrow(
    new TypeError(`Cannot write attribute "${name}": the table has none of that name`),
  );
});

const tooBig: [string, unknown[]][] = [
  ["u8", [-1, 256, 1.5, Number.NaN, null, "1", undefined]],
  ["u16", [-1, 65536]],
  ["u32", [-1, 2 ** 32, Number.POSITIVE_INFINITY]],
  ["i32", [2 ** 31, -(2 ** 31) - 1, 0.5, Number.NaN]],
  ["be16", [-1, 65536]],
  ["be32", [-1, 2 ** 32]],
  ["u64", [-1n, 2n ** 64n, 1]],
  ["be64", [-1n, 2n ** 64n]],
];

test.each(tooBig)("a %s out of its range is a RangeError", (name, values) => {
  for (const value of values) expect(() => written(types[name]!, value)).toThrow(RangeError);
});

test("the plain numbers of a Writer are held to their ranges too", () => {
  const to = new Writer();
  expect(() => to.u8(300)).toThrow(new RangeError("Cannot write 300: must be a whole number from 0 to 255"));
  expect(() => to.u16(-1)).toThrow(RangeError);
  expect(() => to.u32(Number.NaN)).toThrow(RangeError);
});

test.each([
  ["text", "a\0b"],
  ["ip", "10.0.0.1/24"],
  ["mac", "02:00:00:00:00"],
] as const)("%s %j is a TypeError that names the value", (name, value) => {
  expect(() => written(types[name]!, value)).toThrow(TypeError);
  expect(() => written(types[name]!, value)).toThrow(JSON.stringify(value));
});

test.each([
  ["u8", 0],
  ["u16", 1],
  ["u32", 3],
  ["i32", 3],
  ["be16", 1],
  ["be32", 3],
  ["u64", 7],
  ["be64", 7],
  ["bool", 0],
  ["ip", 5],
] as const)("a %s of %d bytes is a RangeError", (name, length) => {
  expect(() => types[name]!.read(new Uint8Array(length))).toThrow(RangeError);
});

test.each([
  ["a length under that of the header", "03 00 01 00"],
  ["a length of nothing", "00 00 01 00"],
  ["a length beyond the end", "09 00 01 00 01 02 03 04"],
])("%s is a RangeError and no endless loop", (_, bytes) => {
  expect(() => eachAttr(hex(bytes), () => {})).toThrow(RangeError);
});

test("an attribute over 65535 bytes is a RangeError", () => {
  const to = new Writer();
  writeAttr(to, 1, bytes, new Uint8Array(65531));
  expect(() => writeAttr(new Writer(), 1, bytes, new Uint8Array(65532))).toThrow(RangeError);
  expect(to.length).toBe(65536);
});

test("a message may grow beyond the writer's first buffer", () => {
  const to = new Writer(4);
  for (let i = 0; i < 1000; i++) to.u32(i);
  expect(new Uint32Array(to.done().slice().buffer)).toEqual(Uint32Array.from({ length: 1000 }, (_, i) => i));
});

test("a structure is its fields in order, without headers, filled up to its size", () => {
  const info = struct(12, { flags: u16, id: be16, rest: u32 }, { flags: 2, id: 2, rest: 4 });
  const bytes = hex("02 00 00 64 01 00 00 00 00 00 00 00");
  expect(written(info, { flags: 2, id: 100, rest: 1 })).toEqual(bytes);
  expect(info.read(bytes)).toEqual({ flags: 2, id: 100, rest: 1 });
});

describe("generated", () => {
  const scalars = Object.fromEntries(payloads.map(([name], at) => [`${name}${at}`, [at + 1, types[name]!] as const]));
  const all = attrs({ ...scalars, nested: [100, attrs({ ...scalars, deeper: [100, attrs(scalars)] })] });

  test("every value of a table of every type survives the wire", () => {
    fc.assert(fc.property(valuesOf(all), (values) => expect(all.read(written(all, values))).toEqual(values as any)));
  });

  test("of any bytes a table reads values or throws a RangeError", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.tuple(valuesOf(all), fc.nat(), fc.nat(255)).map(([values, at, byte]) => {
        const bytes = written(all, values);
        if (bytes.length > 0) bytes[at % bytes.length] = byte;
        return bytes;
      }),
    );
    fc.assert(
      fc.property(bytes, (some) => {
        try {
          expect(all.read(some)).toBeObject();
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
    );
  });
});
