import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { ethernetRate, noRate, RATE32_MAX, rateSpec, ticksOf } from "../../../../lib/netlink/tc/rate.ts";
import { hex, rows, written } from "../../../helpers/bytes.ts";

test("10 Mbit/s, as the kernel tells it and as iproute2 would write it but for the size of its table's cells", () => {
  expect(rows(written(rateSpec, ethernetRate(1_250_000)))).toEqual(rows(hex("00 01 00 00 00 00 00 00 d0 12 13 00")));
  const iproute2 = { cellLog: 3, linkLayer: 1, overhead: 0, cellAlign: 0xffff, mpu: 0, rate: 1_250_000 };
  expect(rows(written(rateSpec, iproute2))).toEqual(rows(hex("03 01 00 00 ff ff 00 00 d0 12 13 00")));
});

test("no rate is all zeros", () => {
  expect(written(rateSpec, noRate)).toEqual(new Uint8Array(12));
});

test("a rate over 32 bits is cut to what fits", () => {
  expect(ethernetRate(5e9).rate).toBe(RATE32_MAX);
  expect(ethernetRate(RATE32_MAX).rate).toBe(RATE32_MAX);
});

test("ticks are 64 ns each: tc tells 125000 bytes at 10 Mbit/s as 1562500", () => {
  expect(ticksOf(125_000, 1_250_000)).toBe(1_562_500);
  expect(ticksOf(1, 1)).toBe(15_625_000);
  expect(ticksOf(1, 3)).toBe(5_208_328); // 333333 whole microseconds
});

test("ticks may be more than 32 bits, and are not cut here", () => {
  expect(ticksOf(536_870_911, 1_250_000)).toBe(6_710_886_375);
});

test("rates survive the wire", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: RATE32_MAX }), (rate) => {
      expect(rateSpec.read(written(rateSpec, ethernetRate(rate)))).toEqual(ethernetRate(rate));
    }),
  );
});
