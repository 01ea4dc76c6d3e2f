import { expect, test } from "bun:test";
import fc from "fast-check";
import { distance, nearest } from "../../../cli/lint/nearest.ts";

test("the distance counts letters put in, left out, replaced and swapped", () => {
  expect(distance("", "abc")).toBe(3);
  expect(distance("bridge", "bridge")).toBe(0);
  expect(distance("birdge", "bridge")).toBe(1);
  expect(distance("isGatway", "isGateway")).toBe(1);
  expect(distance("kitten", "sitting")).toBe(3);
});

test("the distance is the same both ways, and none only between the same", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 }), (a, b) => {
      expect(distance(a, b)).toBe(distance(b, a));
      expect(distance(a, b) === 0).toBe(a === b);
      expect(distance(a, b)).toBeLessThanOrEqual(Math.max(a.length, b.length));
    }),
  );
});

test("the nearest known word, without regard to case, or none", () => {
  expect(nearest("ipMask", ["ipam", "ipMasq", "mtu"])).toBe("ipMasq");
  expect(nearest("PORTMAPING", ["portMappings", "mac"])).toBe("portMappings");
  expect(nearest("nothingAlike", ["ipam", "mtu"])).toBeUndefined();
});
