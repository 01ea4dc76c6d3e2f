import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Index } from "../../../lib/ipam/cache.ts";
import { isUsable, type RangeSet, readRangeSets, toNumber, toText } from "../../../lib/ipam/ranges.ts";
import { firstFree, spansAfter } from "../../../lib/ipam/search.ts";
import { parseCidr, parseIp } from "../../../lib/netlink/inet.ts";

const number = (text: string) => toNumber(parseIp(text)!);
const set = (...ranges: Record<string, any>[]): RangeSet =>
  readRangeSets([
    ranges.map(({ subnet, ...rest }, at) => ({ key: `${at}`, range: { subnet: parseCidr(subnet), ...rest } as any })),
  ])[0]!;
const all = (spans: readonly (readonly [bigint, bigint])[]): string[] => {
  const list: string[] = [];
  for (const [first, last] of spans) for (let address = first; address <= last; address++) list.push(toText(address));
  return list;
};
const order = (ranges: RangeSet, last?: string) =>
  all(spansAfter(ranges, last === undefined ? undefined : number(last)));

describe("the order of trial", () => {
  const small = set({ subnet: "192.0.2.0/29" });

  test("is from the start where nothing was given out", () => {
    expect(order(small)).toEqual(["192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"]);
  });

  test("is from the one after the last round to the last", () => {
    expect(order(small, "192.0.2.4")).toEqual(["192.0.2.5", "192.0.2.6", "192.0.2.2", "192.0.2.3", "192.0.2.4"]);
    expect(order(small, "192.0.2.6")).toEqual(["192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"]);
    expect(order(small, "192.0.2.1")).toEqual(["192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"]);
  });

  test("is from the start where the last is of no range, or of another family", () => {
    expect(order(small, "192.0.3.4")[0]).toBe("192.0.2.2");
    expect(order(small, "::192.0.2.4")[0]).toBe("192.0.2.2");
  });

  test("goes on in the next range and comes back to the first", () => {
    const two = set({ subnet: "192.0.2.0/30" }, { subnet: "198.51.100.0/29" });
    const second = ["198.51.100.2", "198.51.100.3", "198.51.100.4", "198.51.100.5", "198.51.100.6"];
    expect(order(two)).toEqual(["192.0.2.2", ...second]);
    expect(order(two, "192.0.2.2")).toEqual([...second, "192.0.2.2"]);
    expect(order(two, "198.51.100.5")).toEqual(["198.51.100.6", "192.0.2.2", ...second.slice(0, 4)]);
    expect(order(two, "198.51.100.6")).toEqual(["192.0.2.2", ...second]);
  });

  test("holds every usable address once, wherever it begins", () => {
    const ranges = set(
      { subnet: "192.0.2.0/28", exclude: ["192.0.2.4/31", "192.0.2.9"] },
      { subnet: "192.0.2.32/29", gateway: "192.0.2.35" },
    );
    const usable = all([[number("192.0.2.0"), number("192.0.2.63")]]).filter((text) => isUsable(ranges, number(text)));
    for (const last of [undefined, ...all([[number("192.0.2.0"), number("192.0.2.63")]])]) {
      expect(order(ranges, last).sort()).toEqual(usable.toSorted());
    }
  });
});

describe("the search", () => {
  test("finds the first address in the order that is not taken, as counting would", () => {
    const ranges = set({ subnet: "192.0.2.0/27", exclude: ["192.0.2.7-192.0.2.9"] }, { subnet: "198.51.100.0/28" });
    const usable = order(ranges);
    fc.assert(
      fc.property(fc.subarray(usable), fc.constantFrom(undefined, ...usable), (taken, last) => {
        const index = Index.empty(taken.length);
        for (const text of taken) index.add(number(text), "x");
        const expected = order(ranges, last).find((text) => !taken.includes(text));
        const found = firstFree(spansAfter(ranges, last === undefined ? undefined : number(last)), index);
        expect(found === undefined ? undefined : toText(found)).toBe(expected);
      }),
    );
  });

  test("passes over full blocks of an IPv6 subnet of any size", () => {
    const ranges = set({ subnet: "2001:db8::/32" });
    const index = Index.empty(140_000);
    const first = number("2001:db8::2");
    for (let i = 0n; i < 140_000n; i++) index.add(first + i);
    expect(firstFree(spansAfter(ranges, undefined), index)).toBe(first + 140_000n);
    expect(firstFree(spansAfter(ranges, first + 500_000n), index)).toBe(first + 500_001n);
    const end = number("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff");
    expect(firstFree(spansAfter(ranges, end - 1n), index)).toBe(end);
    index.add(end);
    expect(firstFree(spansAfter(ranges, end - 1n), index)).toBe(first + 140_000n);
  });

  test("finds the one free address of a /16, and none where there is none", () => {
    const ranges = set({ subnet: "10.1.0.0/16" });
    const index = Index.empty(65536);
    const free = number("10.1.77.7");
    for (let address = number("10.1.0.0"); address <= number("10.1.255.255"); address++) {
      if (address !== free) index.add(address);
    }
    expect(firstFree(spansAfter(ranges, number("10.1.77.8")), index)).toBe(free);
    expect(firstFree(spansAfter(ranges, undefined), index)).toBe(free);
    index.add(free);
    expect(firstFree(spansAfter(ranges, undefined), index)).toBeUndefined();
    expect(firstFree([], index)).toBeUndefined();
  });
});
