import { expect, test } from "bun:test";
import { attrs, u32, Writer } from "../../../../lib/netlink/attr.ts";
import {
  handle,
  readObject,
  TC_H_CLSACT,
  TC_H_MIN_INGRESS,
  TC_H_ROOT,
  type TcObject,
  writeObject,
} from "../../../../lib/netlink/tc/message.ts";
import { hex, rows } from "../../../helpers/bytes.ts";

const kinds = { known: attrs({ size: [3, u32] }) };

function write(object: TcObject, info?: number): Uint8Array {
  const to = new Writer();
  writeObject(to, object, kinds, info);
  return to.done();
}

test("a handle is two numbers, as tc writes it in hexadecimal", () => {
  expect(handle(0x7e00)).toBe(0x7e000000);
  expect(handle(1, 0x30)).toBe(0x00010030);
  expect(handle(0xffff)).toBe(0xffff0000); // not negative
  expect([TC_H_CLSACT, TC_H_MIN_INGRESS, TC_H_ROOT]).toEqual([
    handle(0xffff, 0xfff1),
    handle(0xffff, 0xfff2),
    2 ** 32 - 1,
  ]);
});

test("header, kind and settings", () => {
  const object = { link: 3, handle: handle(0x7e00), parent: TC_H_ROOT, kind: "known", options: { size: 7 } };
  const bytes = hex(`
    00 00 00 00  family
    03 00 00 00  link
    00 00 00 7e  handle
    ff ff ff ff  parent
    04 03 02 01  info
    0a 00 01 00  TCA_KIND
    "known" 00 00 00
    0c 00 02 80  TCA_OPTIONS
    08 00 03 00 07 00 00 00
  `);
  expect(rows(write(object, 0x01020304))).toEqual(rows(bytes));
  expect(readObject({ payload: bytes }, kinds)).toEqual({ ...object, info: 0x01020304 });
});

test("without kind there are no attributes", () => {
  expect(rows(write({ link: 3 }))).toEqual(rows(hex("00 00 00 00 03 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00")));
});

test("the kernel's other attributes, kinds without a table, and settings that are empty are passed over", () => {
  const payload = hex(`
    00 00 00 00 03 00 00 00 00 00 ff ff f1 ff ff ff 01 00 00 00
    0b 00 01 00 "clsact" 00 00
    04 00 02 00  TCA_OPTIONS, nothing in it
    05 00 0c 00 00 00 00 00  TCA_HW_OFFLOAD
  `);
  const clsact = { link: 3, handle: handle(0xffff), parent: TC_H_CLSACT, kind: "clsact", info: 1 };
  expect(readObject({ payload }, kinds)).toEqual(clsact);
  expect(readObject({ payload }, { clsact: kinds.known })).toEqual(clsact);
});

test("what cannot be written is a TypeError: no link, settings of a kind that is not known, an unknown setting", () => {
  expect(() => write({ link: 0 })).toThrow(TypeError);
  expect(() => write({ link: 3, kind: "other", options: {} })).toThrow(TypeError);
  expect(() => write({ link: 3, options: {} })).toThrow(TypeError);
  expect(() => write({ link: 3, kind: "known", options: { length: 1 } })).toThrow(TypeError);
});

test("less than a header is a RangeError", () => {
  expect(() => readObject({ payload: new Uint8Array(19) }, kinds)).toThrow(RangeError);
});
