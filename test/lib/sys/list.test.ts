import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { filtered, first, mapped, unique } from "../../../lib/sys/list.ts";

test("they do what Array.prototype does", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 9 })), (list) => {
      const odd = (one: number, at = 0) => (one + at) % 2 === 1;
      expect(mapped(list, odd)).toEqual(list.map(odd));
      expect(filtered(list, odd)).toEqual(list.filter(odd));
      expect(first(list, (one) => odd(one))).toBe(list.find((one) => odd(one)));
      expect(unique(list)).toEqual([...new Set(list)]);
    }),
  );
});
