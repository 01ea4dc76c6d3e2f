// Spans of bigints against a naive set of them: small ones, a /8, and IPv6 ranges that only windows can hold.
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { AddressBitmap } from "../../../lib/ipam/address-bitmap.ts";

const RUNS = process.env.TENON_SOAK === "1" ? 3_000 : 200;
const LARGEST = 2n ** 24n;
const WINDOW = 8192n;
/** 2001:db8:: */
const SITE = 0x2001_0db8n << 96n;

type Span = readonly [bigint, bigint];

/** A span that begins at `first` and holds `size` addresses. */
function span(first: bigint, size: bigint): Span {
  return [first, first + size - 1n];
}

/** The naive answers. */
class Model {
  readonly taken = new Set<bigint>();
  readonly spans: readonly Span[];
  last: bigint | undefined;
  constructor(spans: readonly Span[]) {
    this.spans = spans;
  }
  usable(address: bigint): boolean {
    return this.spans.some(([first, last]) => first <= address && address <= last);
  }
  find(from: bigint, to: bigint): bigint | undefined {
    for (let address = from; address <= to; address++) if (!this.taken.has(address)) return address;
    return undefined;
  }
  allocate(after = this.last): bigint | undefined {
    const above = this.spans.filter(([, last]) => after !== undefined && last >= after);
    const nearest = above.toSorted(([a], [b]) => (a < b ? -1 : 1))[0];
    const at = Math.max(0, this.spans.indexOf(nearest!));
    const [first, last] = this.spans[at]!;
    const inside = after !== undefined && first <= after && after <= last;
    // The ring written out: the rest of the span, the others, and what came before.
    const ring: Span[] = [
      inside ? [after + 1n, last] : [first, last],
      ...this.spans.slice(at + 1),
      ...this.spans.slice(0, at),
    ];
    if (inside) ring.push([first, after]);
    for (const [from, to] of ring) {
      const address = this.find(from, to);
      if (address === undefined) continue;
      this.taken.add(address);
      this.last = address;
      return address;
    }
    return undefined;
  }
  allocateAt(address: bigint): boolean {
    if (!this.usable(address) || this.taken.has(address)) return false;
    this.taken.add(address);
    return true;
  }
  allocateIn(from: bigint, to: bigint): bigint | undefined {
    for (const [first, last] of this.spans) {
      const address = this.find(from > first ? from : first, to < last ? to : last);
      if (address === undefined) continue;
      this.taken.add(address);
      return address;
    }
    return undefined;
  }
  free(address: bigint): boolean {
    return this.taken.delete(address);
  }
}

/** Pools of all sorts; those that the steps can fill, and those that they cannot. */
const pools: Record<string, Span[]> = {
  "one address": [[5n, 5n]],
  "a /24 without its gateway and what is excluded": [
    [0x0a000002n, 0x0a000063n],
    [0x0a000080n, 0x0a0000fen],
  ],
  "two ranges, the higher one first": [span(1000n, 20n), span(10n, 30n)],
  "a /8": [span(0x0a000000n, LARGEST)],
  "one more than a /8": [span(0n, LARGEST + 1n)],
  "a /64": [span(SITE, 1n << 64n)],
  "a /48 behind a small one": [span(7n, 6n), span(SITE + 5n, 1n << 80n)],
  "all of IPv6": [span(0n, 1n << 128n)],
};

describe.each(Object.entries(pools))("address bitmap of %s", (_name, spans) => {
  const [first] = spans[0]!;
  const last = spans.at(-1)![1];

  test("answers as the model does, in any order of operations", () => {
    // Near the ends of spans and windows, where everything happens.
    const places = spans.flatMap(([from, to]) => [
      from,
      to,
      from + WINDOW,
      from + 2n * WINDOW,
      from + (to - from) / 2n,
    ]);
    const address = fc
      .tuple(fc.constantFrom(...places), fc.bigInt({ min: -4n, max: 40n }))
      .map(([place, offset]) => place + offset);
    const name = fc.constantFrom("allocate", "after", "at", "in", "free", "has", "many");
    fc.assert(
      fc.property(fc.array(fc.tuple(name, address, address), { maxLength: 80 }), (steps) => {
        const map = new AddressBitmap(spans);
        const model = new Model(spans);
        for (const [name, a, b] of steps) {
          if (name === "allocate") expect(map.allocate()).toBe(model.allocate());
          if (name === "after") expect(map.allocate(a)).toBe(model.allocate(a));
          if (name === "at") expect(map.allocateAt(a)).toBe(model.allocateAt(a));
          if (name === "in") expect(map.allocateIn(a, b)).toBe(model.allocateIn(a, b));
          if (name === "free") expect(map.free(a)).toBe(model.free(a));
          if (name === "has") expect(map.has(a)).toBe(model.taken.has(a));
          if (name === "many") {
            const many = [a, b, a + 1n, a, -1n];
            expect(map.takeMany(many)).toBe(many.filter((address) => model.allocateAt(address)).length);
          }
          expect(map.count).toBe(model.taken.size);
        }
      }),
      { numRuns: RUNS },
    );
  });

  test("continues behind the highest address with the first", () => {
    const map = new AddressBitmap(spans);
    expect(map.allocateAt(last)).toBe(true);
    expect(map.allocate(last)).toBe(first === last ? undefined : first);
    expect(map.allocateAt(last + 1n)).toBe(false);
    expect(map.has(last)).toBe(true);
    expect(map.has(last + 1n)).toBe(false);
  });

  test("gives nothing from outside its spans", () => {
    const map = new AddressBitmap(spans);
    expect(map.allocateIn(last + 1n, last + 100n)).toBeUndefined();
    expect(map.free(last + 1n)).toBe(false);
    expect(map.count).toBe(0);
  });
});

describe("address bitmap", () => {
  test("gives every address of a small pool once and then none", () => {
    const spans = pools["two ranges, the higher one first"]!;
    const map = new AddressBitmap(spans);
    const given = Array.from({ length: 50 }, () => map.allocate());
    expect(given.slice(0, 3)).toEqual([1000n, 1001n, 1002n]);
    expect(given.slice(18, 22)).toEqual([1018n, 1019n, 10n, 11n]);
    expect(map.allocate()).toBeUndefined();
    expect(map.free(15n)).toBe(true);
    expect(map.allocate(1010n)).toBe(15n);
  });

  test("of no span gives nothing", () => {
    const map = new AddressBitmap([]);
    expect(map.allocate()).toBeUndefined();
    expect(map.allocate(3n)).toBeUndefined();
    expect(map.allocateAt(3n)).toBe(false);
    expect(map.count).toBe(0);
  });

  test("refuses a span that ends before it begins", () => {
    expect(() => new AddressBitmap([[6n, 5n]])).toThrow(RangeError);
  });

  test("passes over full windows of a /64", () => {
    const map = new AddressBitmap([span(SITE, 1n << 64n)]);
    const many = 60_000;
    expect(map.takeMany(Array.from({ length: many }, (_, i) => SITE + BigInt(i)))).toBe(many);
    expect(map.allocate(SITE - 1n)).toBe(SITE + BigInt(many));
    expect(map.free(SITE + 20_000n)).toBe(true);
    expect(map.allocateIn(SITE, SITE + BigInt(many))).toBe(SITE + 20_000n);
    expect(map.count).toBe(many + 1);
  });

  test("needs no more memory however far single addresses wander through a /64", () => {
    const map = new AddressBitmap([span(SITE, 1n << 64n)]);
    const before = process.memoryUsage.rss();
    // Each in a window of its own: kept, they would be 96 MB.
    for (let i = 0n; i < 60_000n; i++) {
      const address = SITE + i * WINDOW * 3n;
      if (!map.allocateAt(address) || !map.free(address)) expect(address).toBe(0n);
    }
    expect(process.memoryUsage.rss() - before).toBeLessThan(60e6);
    expect(map.count).toBe(0);
    expect(map.allocate()).toBe(SITE);
  });

  test("keeps 10,000 addresses scattered over a /48 apart", () => {
    const map = new AddressBitmap([span(SITE, 1n << 80n)]);
    const addresses = Array.from(
      { length: 10_000 },
      (_, i) => SITE + ((BigInt(i) * 0x9e37_79b9_7f4a_7c15n) & ((1n << 80n) - 1n)),
    );
    expect(map.takeMany(addresses)).toBe(10_000);
    expect(map.takeMany(addresses)).toBe(0);
    expect(addresses.every((address) => map.has(address))).toBe(true);
    expect(addresses.every((address) => map.free(address))).toBe(true);
    expect(map.count).toBe(0);
  });
});
