import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { contains, formatIp, ipToNumber, parseCidr } from "../../../lib/netlink/inet.ts";
import { intervalsOf } from "../../../lib/nftables/interval.ts";

const intervals = (...networks: string[]) =>
  intervalsOf(networks.map((network) => parseCidr(network)!)).map(
    ({ key, end }) => formatIp(key) + (end ? " end" : ""),
  );

test("networks are intervals, in order, after an end at zero", () => {
  expect(intervals("224.0.0.0/4", "10.0.0.0/8")).toEqual([
    "0.0.0.0 end",
    "10.0.0.0",
    "11.0.0.0 end",
    "224.0.0.0",
    "240.0.0.0 end",
  ]);
});

test("networks that overlap or touch become one interval", () => {
  expect(intervals("10.1.0.0/16", "10.0.0.0/8", "11.0.0.0/8", "10.1.2.3/32")).toEqual([
    "0.0.0.0 end",
    "10.0.0.0",
    "12.0.0.0 end",
  ]);
});

test("host bits do not count", () => {
  expect(intervals("10.1.0.2/16")).toEqual(intervals("10.1.0.0/16"));
});

test("an interval up to the last address has no end, one from the first no end before it", () => {
  expect(intervals("ff00::/8")).toEqual([":: end", "ff00::"]);
  expect(intervals("0.0.0.0/1", "240.0.0.0/4")).toEqual(["0.0.0.0", "128.0.0.0 end", "240.0.0.0"]);
  expect(intervals("0.0.0.0/0", "10.0.0.0/8")).toEqual(["0.0.0.0"]);
});

test("an address is in an interval exactly if it is in a network", () => {
  const network = fc.record({
    ip: fc.uint8Array({ minLength: 4, maxLength: 4 }),
    prefix: fc.integer({ min: 0, max: 32 }),
  });
  const networks = fc.array(network, { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(networks, fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.boolean(), (some, random, near) => {
      const elements = intervalsOf(some);
      const ip = near ? elements.at(-1)!.key : random;
      const below = elements.filter(({ key }) => ipToNumber(key) <= ipToNumber(ip)).at(-1);
      expect(below !== undefined && !below.end).toBe(some.some((one) => contains(one, ip)));
      // No key twice, and ends only after beginnings.
      expect(new Set(elements.map(({ key }) => formatIp(key))).size).toBe(elements.length);
    }),
  );
});
