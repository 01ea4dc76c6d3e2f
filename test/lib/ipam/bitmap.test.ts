// The allocator against a set of numbers that answers the same questions naively: the WebAssembly one and its
// TypeScript twin pass one body. TENON_SOAK=1 runs the full counts.
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { bitmap as binary } from "../../../build/wasm/bitmap.ts";
import { Bitmap, LARGEST } from "../../../lib/ipam/bitmap.ts";
import { BitmapTwin } from "../../helpers/bitmap-twin.ts";

const SOAK = process.env.TENON_SOAK === "1";
const OPERATIONS = SOAK ? 800_000 : 60_000;
const RUNS = SOAK ? 2_000 : 150;
/** From a /30 to a /12, the edges of words of every level, and what is no multiple of 64. */
const SIZES = [1, 2, 4, 8, 63, 64, 65, 254, 256, 1000, 4095, 4096, 4097, 65536, 262143, 262144, 262145, 1048576];

/** The naive answers. */
class Model {
  readonly taken = new Set<number>();
  readonly size: number;
  last = -1;
  constructor(size: number) {
    this.size = size;
  }
  inRange(index: number): boolean {
    return Number.isInteger(index) && index >= 0 && index < this.size;
  }
  find(from: number, to: number): number {
    for (let index = from; index <= to; index++) if (!this.taken.has(index)) return index;
    return -1;
  }
  take(index: number): number {
    if (index >= 0) this.taken.add(index);
    return index;
  }
  allocate(after = this.last): number {
    if (after !== -1 && !this.inRange(after)) return -1;
    const above = this.find(after + 1, this.size - 1);
    const index = this.take(above < 0 ? this.find(0, after) : above);
    if (index >= 0) this.last = index;
    return index;
  }
  allocateAt(index: number): boolean {
    return this.inRange(index) && !this.taken.has(index) && this.take(index) === index;
  }
  allocateIn(from: number, to: number): number {
    return this.inRange(from) && this.inRange(to) ? this.take(this.find(from, to)) : -1;
  }
  free(index: number): boolean {
    return this.taken.delete(index);
  }
  fill(from: number, to: number): number {
    if (!this.inRange(from) || !this.inRange(to) || from > to) return -1;
    const before = this.taken.size;
    for (let index = from; index <= to; index++) this.taken.add(index);
    return this.taken.size - before;
  }
  bytes(): Uint8Array {
    const bytes = new Uint8Array(Math.ceil(this.size / 8));
    for (let index = 0; index < bytes.length * 8; index++) {
      if (index >= this.size || this.taken.has(index)) bytes[index >> 3]! |= 1 << (index & 7);
    }
    return bytes;
  }
}

/** One operation: what it is called, and two numbers it may use. */
type Operation = [name: keyof typeof operations, a: number, b: number];

/** Each operation on either: the answers must be equal. */
const operations = {
  allocate: (map: Bitmap | Model) => map.allocate(),
  allocateAfter: (map: Bitmap | Model, a: number) => map.allocate(a),
  allocateAt: (map: Bitmap | Model, a: number) => map.allocateAt(a),
  allocateIn: (map: Bitmap | Model, a: number, b: number) => map.allocateIn(Math.min(a, b), Math.max(a, b)),
  free: (map: Bitmap | Model, a: number) => map.free(a),
  has: (map: Bitmap | Model, a: number) => (map instanceof Model ? map.taken.has(a) : map.has(a)),
  fill: (map: Bitmap | Model, a: number, b: number) => map.fill(a, b),
  allocateMany: (map: Bitmap | Model, a: number) => {
    if (!(map instanceof Model)) return [...map.allocateMany(a)];
    const indexes: number[] = [];
    while (indexes.length < a && map.taken.size < map.size) indexes.push(map.allocate());
    return indexes;
  },
  takeMany: (map: Bitmap | Model, a: number, b: number) => {
    const indexes = some(a, b);
    return map instanceof Model ? indexes.filter((index) => map.allocateAt(index)).length : map.takeMany(indexes);
  },
  freeMany: (map: Bitmap | Model, a: number, b: number) => {
    const indexes = some(a, b);
    return map instanceof Model ? indexes.filter((index) => map.free(index)).length : map.freeMany(indexes);
  },
  reload: (map: Bitmap | Model) => {
    const bytes = map.bytes();
    if (!(map instanceof Model)) map.load(bytes);
    return bytes;
  },
};

/** A handful of indexes that two numbers stand for, with repetitions and some out of range. */
function some(a: number, b: number): Uint32Array {
  return Uint32Array.from({ length: (a + b) % 300 }, (_, i) => (i % 7 === 0 ? a + i : Math.imul(i, b)));
}

const kinds: [string, new (size: number) => Bitmap][] = [
  ["WebAssembly", Bitmap],
  ["twin", BitmapTwin as unknown as new (size: number) => Bitmap],
];

describe.each(kinds)("bitmap (%s)", (_name, Kind) => {
  /** All of a size taken but these. */
  const full = (size: number, ...free: number[]): Bitmap => {
    const map = new Kind(size);
    expect(map.fill(0, size - 1)).toBe(size);
    for (const index of free) expect(map.free(index)).toBe(true);
    return map;
  };

  test.each(SIZES)("of %i gives each index once, in order, and then none", (size) => {
    const map = new Kind(size);
    for (let index = 0; index < size; index++) if (map.allocate() !== index) expect(index).toBe(-1);
    expect(map.count).toBe(size);
    expect(map.allocate()).toBe(-1);
    expect(map.allocateIn(0, size - 1)).toBe(-1);
    expect(map.allocateMany(5)).toHaveLength(0);
  });

  test.each([...SIZES, LARGEST])("of %i finds the one free index wherever it is", (size) => {
    const map = full(size);
    const edges = [0, 1, 31, 32, 63, 64, 4095, 4096, 262143, 262144, size >> 1, size - 2, size - 1];
    for (const free of edges.filter((index) => index >= 0 && index < size)) {
      expect(map.free(free)).toBe(true);
      expect(map.allocate()).toBe(free);
      for (const after of [-1, 0, free - 1, free, size - 1]) {
        if (after < -1) continue;
        expect(map.free(free)).toBe(true);
        expect(map.allocate(after)).toBe(free);
      }
      expect(map.free(free)).toBe(true);
      if (free > 0) expect(map.allocateIn(0, free - 1)).toBe(-1);
      if (free < size - 1) expect(map.allocateIn(free + 1, size - 1)).toBe(-1);
      expect(map.allocateIn(free, free)).toBe(free);
    }
    expect(map.count).toBe(size);
  });

  test("continues behind the last one and begins again at the end", () => {
    const map = new Kind(10);
    expect([map.allocate(), map.allocate(), map.allocate(7), map.allocate()]).toEqual([0, 1, 8, 9]);
    expect(map.free(1)).toBe(true);
    expect(map.allocate()).toBe(1);
    expect(map.allocate(9)).toBe(2);
    expect(map.allocate(-1)).toBe(3);
  });

  test("remembers the last one when all were taken in between", () => {
    const map = full(256, 100, 200);
    expect([map.allocate(150), map.allocate(), map.allocate()]).toEqual([200, 100, -1]);
    map.freeMany(Uint32Array.of(50, 150));
    expect(map.allocate()).toBe(150);
  });

  test("answers input out of range without touching anything", () => {
    const map = full(100, 40);
    const before = map.bytes();
    for (const wrong of [
      -1,
      -2,
      100,
      101,
      128,
      2 ** 24,
      2 ** 31,
      2 ** 32,
      2 ** 32 + 40,
      40.5,
      NaN,
      Infinity,
      -Infinity,
    ]) {
      if (wrong !== -1) expect(map.allocate(wrong)).toBe(-1);
      expect(map.allocateAt(wrong)).toBe(false);
      expect(map.free(wrong)).toBe(false);
      expect(map.has(wrong)).toBe(false);
      expect(map.allocateIn(wrong, 99)).toBe(-1);
      expect(map.allocateIn(0, wrong)).toBe(-1);
      expect(map.fill(wrong, 99)).toBe(-1);
      expect(map.fill(0, wrong)).toBe(-1);
    }
    expect(map.allocateIn(41, 40)).toBe(-1);
    expect(map.fill(41, 40)).toBe(-1);
    expect(map.takeMany(Uint32Array.of(100, 2 ** 31, 2 ** 32 - 1))).toBe(0);
    expect(map.freeMany(Uint32Array.of(100, 127, 128, 2 ** 32 - 1))).toBe(0);
    expect(map.allocateMany(-1)).toHaveLength(0);
    expect(map.allocateMany(NaN)).toHaveLength(0);
    expect(map.bytes()).toEqual(before);
    expect(map.count).toBe(99);
  });

  test.each([0, -1, 1.5, NaN, LARGEST + 1, 2 ** 32 + 1])("refuses a size of %d", (size) => {
    expect(() => new Kind(size)).toThrow(RangeError);
  });

  test("takes and gives back many at once, more than one list holds", () => {
    const map = new Kind(20_000);
    expect(map.fill(0, 4)).toBe(5);
    const many = map.allocateMany(15_000);
    expect([...many]).toEqual(Array.from({ length: 15_000 }, (_, i) => i + 5));
    expect(map.count).toBe(15_005);
    expect(map.freeMany(many.subarray(100))).toBe(14_900);
    expect(map.freeMany(many)).toBe(100);
    expect(map.takeMany(many)).toBe(15_000);
    expect(map.takeMany(many)).toBe(0);
    expect(map.allocateMany(10_000)).toHaveLength(4_995);
    expect(map.count).toBe(20_000);
  });

  test("loads a map and finds its free ones, whatever the bits behind the end say", () => {
    for (const behind of [0, 255]) {
      const map = new Kind(70);
      const bytes = new Uint8Array(9).fill(255);
      bytes[8] = behind === 0 ? 0b01_1111 : 0b1101_1111;
      map.load(bytes);
      expect(map.count).toBe(69);
      expect([map.allocate(), map.allocate()]).toEqual([69, -1]);
    }
    expect(() => new Kind(70).load(new Uint8Array(8))).toThrow(RangeError);
    expect(() => new Kind(70).load(new Uint8Array(10))).toThrow(RangeError);
  });

  test("is independent of other bitmaps", () => {
    const maps = [300, 4, 65536, 300].map((size) => new Kind(size));
    maps[0]!.fill(0, 299);
    maps[2]!.fill(0, 65535);
    expect(maps.map((map) => map.count)).toEqual([300, 0, 65536, 0]);
    expect(maps.map((map) => map.allocate())).toEqual([-1, 0, -1, 0]);
  });

  test("answers as the model does, in any order of operations", () => {
    const operation = fc.tuple(fc.constantFrom(...(Object.keys(operations) as Operation[0][])), fc.nat(), fc.nat());
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.array(operation, { maxLength: 60 }), (size, steps) => {
        const map = new Kind(size);
        const model = new Model(size);
        for (const [name, a, b] of steps) {
          // Mostly in range, at times just outside.
          const [x, y] = [a % (size + 2), b % (size + 2)];
          expect(operations[name](map, x, y)).toEqual(operations[name](model, x, y));
          expect(map.count).toBe(model.taken.size);
        }
        expect(map.bytes()).toEqual(model.bytes());
      }),
      { numRuns: RUNS },
    );
  });

  test(`answers as the model does in ${OPERATIONS} operations, nearly empty and nearly full`, () => {
    let seed = 7;
    const random = (n: number) => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return Math.floor((seed / 2 ** 32) * n);
    };
    const sizes = [4, 256, 4097, 65536];
    for (const size of sizes) {
      const map = new Kind(size);
      const model = new Model(size);
      const steps = OPERATIONS / sizes.length;
      for (let step = 0; step < steps; step++) {
        const falling = step % Math.min(steps, size * 4) > Math.min(steps, size * 4) / 2;
        const index = random(size);
        const near = Math.min(size - 1, index + random(50));
        // The model looks at one index after the other: only short ways, or at random places of a map not full.
        const choice = random(8);
        const name =
          choice < 5
            ? falling
              ? "free"
              : "allocateAt"
            : choice === 5
              ? "allocateIn"
              : choice === 6
                ? "has"
                : "allocateAfter";
        const answers = [map, model].map((it) => operations[name](it, index, near));
        if (answers[0] !== answers[1]) expect([size, step, name, answers[0]]).toEqual([size, step, name, answers[1]]);
      }
      expect(map.count).toBe(model.taken.size);
      expect(map.bytes()).toEqual(model.bytes());
      const free = Array.from({ length: size }, (_, index) => index).filter((index) => !model.taken.has(index));
      const rest = map.allocateMany(size);
      expect([...rest].sort((a, b) => a - b)).toEqual(free);
      expect(map.count).toBe(size);
    }
  });
});

describe("the WebAssembly core", () => {
  const instance = () =>
    new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.fromBase64(binary))).exports as Record<string, any>;

  test("imports nothing and exports only functions of numbers, its memory and two numbers", () => {
    const module = new WebAssembly.Module(Uint8Array.fromBase64(binary));
    expect(WebAssembly.Module.imports(module)).toEqual([]);
    const others = WebAssembly.Module.exports(module).filter(({ kind }) => kind !== "function");
    expect(others.map(({ name, kind }) => `${kind} ${name}`).sort()).toEqual([
      "global level0",
      "global listLength",
      "memory memory",
    ]);
  });

  test("answers -1 when its memory is full, and goes on with what it has", () => {
    const core = instance();
    const maps: number[] = [];
    let map = core.create(LARGEST);
    for (; map > 0 && maps.length < 1000; map = core.create(LARGEST)) maps.push(map);
    expect(map).toBe(-1);
    expect(maps.length).toBe(31);
    expect(core.create(4)).toBeGreaterThan(0);
    expect(core.allocate(maps.at(-1), -1)).toBe(0);
    expect(core.allocate(maps[0], LARGEST - 2)).toBe(LARGEST - 1);
  });

  test("does not read or write outside the list in bulk calls", () => {
    const core = instance();
    const map = core.create(65536);
    for (const n of [-1, core.listLength.value + 1, 2 ** 31 - 1]) {
      expect(core.allocateMany(map, -1, n)).toBe(-1);
      expect(core.takeMany(map, n)).toBe(-1);
      expect(core.freeMany(map, n)).toBe(-1);
    }
    expect(core.allocateMany(map, 65536, 4)).toBe(0);
    expect(core.count(map)).toBe(0);
    expect(core.allocateMany(map, -1, core.listLength.value)).toBe(core.listLength.value);
    expect(core.popcount(map)).toBe(core.listLength.value);
  });

  test("counts the bits of level 0 whatever the summaries say", () => {
    const core = instance();
    for (const size of SIZES) {
      const map = core.create(size);
      core.fill(map, 0, size - 1);
      core.free(map, size >> 1);
      expect([core.popcount(map), core.count(map)]).toEqual([size - 1, size - 1]);
      expect([core.rebuild(map), core.allocate(map, -1)]).toEqual([size - 1, size >> 1]);
    }
  });
});

test("bitmaps go to a new instance when one is full, and those of the old one stay what they are", () => {
  const first = new Bitmap(1000);
  expect(first.fill(0, 998)).toBe(999);
  const maps = Array.from({ length: 70 }, () => new Bitmap(LARGEST));
  for (const [i, map] of maps.entries()) expect(map.allocate(i)).toBe(i + 1);
  for (const [i, map] of maps.entries()) expect([map.count, map.has(i + 1)]).toEqual([1, true]);
  expect([...first.allocateMany(5), ...maps[0]!.allocateMany(2)]).toEqual([999, 2, 3]);
  expect(maps[69]!.freeMany(Uint32Array.of(70, 71))).toBe(1);
});
