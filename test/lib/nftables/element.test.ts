import { expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  createElements,
  deleteElements,
  dumpElements,
  type Element,
  getElement,
  getElements,
  readElements,
} from "../../../lib/nftables/element.ts";
import { bodyOf, hex, rows } from "../../helpers/bytes.ts";

const set = { table: { family: "inet", name: "tenon" }, name: "pods" } as const;
const head = `01 00 00 00
  0a 00 01 00            NFTA_SET_ELEM_LIST_TABLE
  "tenon" 00 00 00
  09 00 02 00            NFTA_SET_ELEM_LIST_SET
  "pods" 00 00 00 00`;

const added = `${head}
  2c 00 03 80            NFTA_SET_ELEM_LIST_ELEMENTS
  28 00 01 80            NFTA_LIST_ELEM
  0c 00 01 80            NFTA_SET_ELEM_KEY
  08 00 01 00            NFTA_DATA_VALUE
  0a 01 00 02            10.1.0.2
  16 00 06 00            NFTA_SET_ELEM_USERDATA
  00 10                  a comment of 16 bytes
  "podnet/abc/eth0" 00
  00 00                  padding`;
const element = { key: hex("0a 01 00 02"), comment: "podnet/abc/eth0" };

test("an element is added with its comment, as nft(8) does it but never over another", () => {
  const message = createElements(set, [element]);
  expect(message).toMatchObject({ type: 0x0a0c, flags: 0x600 });
  expect(message.label).toBe('add element "podnet/abc/eth0" of set inet tenon pods');
  expect(rows(bodyOf(message))).toEqual(rows(hex(added)));
  expect(readElements({ type: 0x0a0c, payload: hex(added) })).toEqual([element]);
});

test("an interval is its first key, and the first after it marked as an end", () => {
  const elements: Element[] = [{ key: hex("0a 00 00 00") }, { key: hex("0b 00 00 00"), end: true }];
  const bytes = hex(`${head}
    2c 00 03 80          16 and 24 in it
    10 00 01 80
    0c 00 01 80
    08 00 01 00
    0a 00 00 00
    18 00 01 80
    0c 00 01 80
    08 00 01 00
    0b 00 00 00
    08 00 03 00          NFTA_SET_ELEM_FLAGS
    00 00 00 01          NFT_SET_ELEM_INTERVAL_END
  `);
  expect(rows(bodyOf(createElements(set, elements)))).toEqual(rows(bytes));
  expect(readElements({ type: 0x0a0c, payload: bytes })).toEqual(elements);
});

test("an element of a map has data, and tells how many packets found it if the map counts", () => {
  const mapping: Element = { key: hex("06 00 00 00 1f 90 00 00"), data: hex("0a 01 00 02 00 50 00 00") };
  const content = `
    10 00 01 80
    0c 00 01 00
    06 00 00 00 1f 90 00 00  TCP, port 8080
    10 00 02 80          NFTA_SET_ELEM_DATA
    0c 00 01 00
    0a 01 00 02 00 50 00 00  10.1.0.2, port 80`;
  const made = hex(`${head}\n28 00 03 80\n24 00 01 80\n${content}`);
  expect(rows(bodyOf(createElements(set, [mapping])))).toEqual(rows(made));
  expect(rows(bodyOf(createElements(set, [{ ...mapping, packets: 7 }])))).toEqual(rows(made));
  const told = hex(`${head}
    54 00 03 80
    50 00 01 80
    ${content}
    2c 00 07 80          NFTA_SET_ELEM_EXPR
    0c 00 01 00
    "counter" 00
    1c 00 02 80          NFTA_EXPR_DATA
    0c 00 01 00          NFTA_COUNTER_BYTES
    00 00 00 00 00 00 00 00
    0c 00 02 00          NFTA_COUNTER_PACKETS
    00 00 00 00 00 00 00 07`);
  expect(readElements({ type: 0x0a0c, payload: told })).toEqual([{ ...mapping, packets: 7 }]);
  expect(rows(bodyOf(deleteElements(set, [mapping])))).toEqual(
    rows(hex(`${head}\n18 00 03 80\n14 00 01 80\n10 00 01 80\n0c 00 01 00\n06 00 00 00 1f 90 00 00`)),
  );
});

test.each([
  ["deleted", deleteElements(set, [element]), 0x0a0e],
  ["found", getElement(set, element.key), 0x0a0d],
] as const)("an element is %s by its key alone", (_, message, type) => {
  expect(message).toMatchObject({ type, flags: 0 });
  expect(rows(bodyOf(message))).toEqual(
    rows(hex(`${head}\n14 00 03 80\n10 00 01 80\n0c 00 01 80\n08 00 01 00\n0a 01 00 02`)),
  );
});

test("each place is asked for by a message of its own, in the order given", () => {
  const other = { ...set, name: "ports" };
  const places = [
    { set: other, key: new Uint8Array([1]) },
    { set, key: element.key },
  ];
  const asked = getElements(places).map((message) => [message.label, rows(bodyOf(message))]);
  expect(asked).toEqual(places.map(({ set, key }) => [getElement(set, key).label, rows(bodyOf(getElement(set, key)))]));
  expect(getElements([])).toEqual([]);
});

test("all elements are asked for by the set alone", () => {
  expect(dumpElements(set)).toMatchObject({ label: "list elements of set inet tenon pods", type: 0x0a0d });
  expect(rows(bodyOf(dumpElements(set)))).toEqual(rows(hex(head)));
});

test("any elements are read as they were written", () => {
  const some = fc.record(
    {
      key: fc.uint8Array({ minLength: 4, maxLength: 24 }),
      comment: fc.string({ maxLength: 60 }).filter((text) => !text.includes("\0")),
      end: fc.constant(true),
    },
    { requiredKeys: ["key"], noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(some, { maxLength: 20 }), (elements) => {
      const payload = bodyOf(createElements(set, elements));
      expect(readElements({ type: 0x0a0c, payload })).toEqual(elements);
    }),
  );
});

test("a list over 64 KiB is a RangeError", () => {
  const many = new Array<Element>(5000).fill({ key: new Uint8Array(16) });
  expect(() => bodyOf(deleteElements(set, many))).toThrow(RangeError);
});
