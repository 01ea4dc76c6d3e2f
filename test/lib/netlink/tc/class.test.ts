import { expect, test } from "bun:test";
import * as fc from "fast-check";
import type { Type } from "../../../../lib/netlink/attr.ts";
import { createClass, dumpClasses, htbClass, readClass } from "../../../../lib/netlink/tc/class.ts";
import { handle, TC_H_ROOT } from "../../../../lib/netlink/tc/message.ts";
import { ethernetRate } from "../../../../lib/netlink/tc/rate.ts";
import { bodyOf, hex, rows, valuesOf } from "../../../helpers/bytes.ts";

const place = { link: 3, handle: handle(0x7e00, 0x48), parent: handle(0x7e00) };

// What iproute2 6.1 was seen to send, less its two tables of 256 times each.
test("tc class add dev vethA parent 7e00: classid 7e00:48 htb rate 10mbit burst 125000 cburst 125000 quantum 60000", () => {
  const rate = { ...ethernetRate(1_250_000), cellLog: 3, cellAlign: 0xffff };
  const buffers = { buffer: 1_562_500, ceilBuffer: 1_562_500 };
  const parms = { rate, ceil: rate, ...buffers, quantum: 60_000, level: 0, priority: 0 };
  const message = createClass({ ...place, kind: "htb", options: { parms } });
  expect(message).toMatchObject({ type: 40, flags: 0x400 });
  expect(rows(bodyOf(message))).toEqual(
    rows(
      hex(`
      00 00 00 00 03 00 00 00 48 00 00 7e 00 00 00 7e 00 00 00 00
      08 00 01 00 "htb" 00
      34 00 02 80
      30 00 01 00  TCA_HTB_PARMS
      03 01 00 00 ff ff 00 00 d0 12 13 00  rate
      03 01 00 00 ff ff 00 00 d0 12 13 00  ceil
      84 d7 17 00 84 d7 17 00 60 ea 00 00 00 00 00 00 00 00 00 00
      `),
    ),
  );
});

test("what the kernel says of it: its parent is the root, counters are passed over", () => {
  const payload = hex(`
    00 00 00 00 03 00 00 00 48 00 00 7e ff ff ff ff 00 00 01 7e
    08 00 01 00 "htb" 00
    34 00 02 00
    30 00 01 00
    00 01 00 00 00 00 00 00 d0 12 13 00
    00 01 00 00 00 00 00 00 d0 12 13 00
    84 d7 17 00 84 d7 17 00 60 ea 00 00 00 00 00 00 00 00 00 00
    18 00 03 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
  `);
  const rate = ethernetRate(1_250_000);
  const buffers = { buffer: 1_562_500, ceilBuffer: 1_562_500 };
  const parms = { rate, ceil: rate, ...buffers, quantum: 60_000, level: 0, priority: 0 };
  expect(readClass({ payload })).toEqual({ ...place, parent: TC_H_ROOT, kind: "htb", options: { parms } });
});

test("tc class show dev vethA", () => {
  expect(dumpClasses(3)).toMatchObject({ type: 42, flags: 0 });
  expect(rows(bodyOf(dumpClasses(3)))).toEqual(
    rows(hex("00 00 00 00 03 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00")),
  );
});

test("classes survive the wire", () => {
  const whole = fc.integer({ min: 0, max: 0xffffffff });
  const rate = whole.map(ethernetRate);
  const rest = { buffer: whole, ceilBuffer: whole, quantum: whole, level: whole, priority: whole };
  const parms = new Map<Type<any>, fc.Arbitrary<unknown>>([
    [htbClass.fields.parms[1], fc.record({ rate, ceil: rate, ...rest })],
  ]);
  fc.assert(
    fc.property(valuesOf(htbClass, parms), (options) => {
      const { options: read } = readClass({ payload: bodyOf(createClass({ ...place, kind: "htb", options })) });
      expect(read ?? {}).toEqual(options);
    }),
  );
});
