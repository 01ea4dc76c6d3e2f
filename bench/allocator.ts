// The allocator of lib/ipam/bitmap.ts beside its TypeScript twin, a linear scan over words and a JS Set.
// Each size runs in a process of its own, so that every call site knows one receiver, as in a plugin. Within it the
// implementations take turns round by round; figures are medians, ratios the medians of the rounds' ratios. The Set
// has another process: with its 16 million entries in the heap, every garbage collection costs its neighbours too.
//
// One operation is an allocation of the next free after the last and a free. With one address free the freed one
// is another each time, spread over the whole map; else it is the same, and the search walks through all free ones.

import { bitmap as binary } from "../build/wasm/bitmap.ts";
import { Bitmap } from "../lib/ipam/bitmap.ts";
import { BitmapTwin } from "../test/helpers/bitmap-twin.ts";

/** Prefix lengths; how full, where 1 stands for one address free. */
const PREFIXES = [24, 16, 12, 8];
const FILLS = [0, 0.5, 0.99, 0.999, 1];
/**
 * Rounds are many and short, so that the median is one that nobody interrupted. Milliseconds: a round aims at ROUND
 * after WARM of running in, and an implementation stops after BUDGET in a cell, with one round at least.
 */
const ROUNDS = 101;
const ROUND = 0.3;
const WARM = 40;
const BUDGET = 400;
const BULK = 1000;
const PROCESSES = 21;

interface Allocator {
  allocate(): number;
  free(index: number): boolean;
  allocateMany(n: number): Uint32Array;
  freeMany(indexes: Uint32Array): number;
  load(bytes: Uint8Array): void;
}

/** No summaries: words are looked at one after the other. */
class Linear implements Allocator {
  readonly #words: Int32Array;
  #last = -1;
  constructor(size: number) {
    this.#words = new Int32Array(Math.ceil(size / 32));
  }
  allocate(): number {
    const words = this.#words;
    let n = (this.#last + 1) >> 5;
    if (n === words.length) n = 0;
    let room = ~words[n]! & (-1 << (this.#last + 1));
    for (let left = words.length; room === 0; left--) {
      if (left === 0) return -1;
      if (++n === words.length) n = 0;
      room = ~words[n]!;
    }
    const bit = room & -room;
    words[n]! |= bit;
    this.#last = (n << 5) | (31 - Math.clz32(bit));
    return this.#last;
  }
  free(index: number): boolean {
    const word = this.#words[index >> 5]!;
    this.#words[index >> 5] = word & ~(1 << index);
    return ((word >>> index) & 1) === 1;
  }
  allocateMany(n: number): Uint32Array {
    return new Uint32Array(n).map(() => this.allocate());
  }
  freeMany(indexes: Uint32Array): number {
    for (const index of indexes) this.free(index);
    return indexes.length;
  }
  load(bytes: Uint8Array): void {
    new Uint8Array(this.#words.buffer).set(bytes);
  }
}

/** What one writes first: a set of the taken ones, asked about one index after the other. */
class Taken implements Allocator {
  readonly #taken = new Set<number>();
  readonly #size: number;
  #last = -1;
  constructor(size: number) {
    this.#size = size;
  }
  allocate(): number {
    for (let left = this.#size; left > 0; left--) {
      this.#last = this.#last + 1 === this.#size ? 0 : this.#last + 1;
      if (this.#taken.has(this.#last)) continue;
      this.#taken.add(this.#last);
      return this.#last;
    }
    return -1;
  }
  free(index: number): boolean {
    return this.#taken.delete(index);
  }
  allocateMany(n: number): Uint32Array {
    return new Uint32Array(n).map(() => this.allocate());
  }
  freeMany(indexes: Uint32Array): number {
    for (const index of indexes) this.free(index);
    return indexes.length;
  }
  load(bytes: Uint8Array): void {
    for (let index = 0; index < this.#size; index++) {
      if ((bytes[index >> 3]! >> (index & 7)) & 1) this.#taken.add(index);
      else this.#taken.delete(index);
    }
  }
}

const KINDS = { WASM: Bitmap, twin: BitmapTwin, linear: Linear, Set: Taken };
type Kind = keyof typeof KINDS;
const TOGETHER: Kind[][] = [["WASM", "twin", "linear"], ["Set"]];

interface Cell {
  prefix: number;
  fill: number;
  bulk: boolean;
  kind: Kind;
  /** Nanoseconds per operation, one figure a round. */
  rounds: number[];
}

/** A map with exactly the wanted number of free indexes, at least one, at random places. */
function pattern(size: number, fill: number): { bytes: Uint8Array; free: number } {
  const free = fill === 1 ? 1 : Math.max(1, Math.round(size * (1 - fill)));
  const bytes = new Uint8Array(size >> 3).fill(free === size ? 0 : 255);
  for (let left = free === size ? 0 : free, seed = 1; left > 0; ) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const index = Math.floor((seed / 2 ** 32) * size);
    if (!((bytes[index >> 3]! >> (index & 7)) & 1)) continue;
    bytes[index >> 3]! ^= 1 << (index & 7);
    left--;
  }
  return { bytes, free };
}

/**
 * The loop of a cell, as a piece of code of its own. Equal texts would share what the engine learns from running
 * them, so each names its cell.
 */
function loop(
  cell: string,
  fill: number,
  bulk: boolean,
  free: number,
  bits: number,
): (map: Allocator, n: number) => void {
  let body = "map.free(map.allocate());";
  if (fill === 1) body = `map.allocate(); map.free(Math.imul(i, 0x9e3779b1) >>> ${32 - bits});`;
  if (bulk) body = `const many = map.allocateMany(${Math.min(BULK, free)}); map.freeMany(many);`;
  const text = `/* ${cell} ${fill} ${bulk} */ for (let i = 0; i < n; i++) { ${body} }`;
  return new Function("map", "n", text) as (map: Allocator, n: number) => void;
}

/** All cells of one size and some implementations. */
function measure(prefix: number, kinds: Kind[]): Cell[] {
  const size = 2 ** (32 - prefix);
  const maps = kinds.map((kind) => ({ kind, map: new KINDS[kind](size) as Allocator }));
  const cells: Cell[] = [];
  for (const fill of FILLS) {
    const { bytes, free } = pattern(size, fill);
    for (const bulk of [false, true]) {
      const each = bulk ? Math.min(BULK, free) : 1;
      const runs = maps.map(({ kind, map }) => {
        map.load(bytes);
        const run = loop(kind, fill, bulk, free, 32 - prefix);
        let n = 1;
        for (let spent = 0, ms = 0; spent < WARM; spent += ms) {
          ms = time(() => run(map, n));
          n = Math.max(1, Math.min(n * 4, Math.round((n * ROUND) / ms)));
        }
        return { kind, map, run, n, spent: 0, rounds: [] as number[] };
      });
      for (let round = 0; round < ROUNDS; round++) {
        for (const it of runs) {
          if (it.spent > BUDGET) continue;
          const ms = time(() => it.run(it.map, it.n));
          it.spent += ms;
          it.rounds.push((ms * 1e6) / it.n / each);
        }
      }
      for (const { kind, rounds } of runs) cells.push({ prefix, fill, bulk, kind, rounds });
    }
    Bun.stderr.write(`allocator: ${kinds.join(", ")}: /${prefix} ${label(fill)}\n`);
  }
  return cells;
}

function time(run: () => void): number {
  const begin = performance.now();
  run();
  return performance.now() - begin;
}

/** Microseconds of each step in a process that did nothing before. */
function cold(): Record<string, number> {
  const steps: Record<string, number> = {};
  const step = <T>(name: string, run: () => T): T => {
    const begin = Bun.nanoseconds();
    const value = run();
    steps[name] = (Bun.nanoseconds() - begin) / 1000;
    return value;
  };
  step("nothing", () => 0);
  const module = step("compile", () => new WebAssembly.Module(Uint8Array.fromBase64(binary)));
  const core = step("instantiate", () => new WebAssembly.Instance(module).exports as Record<string, any>);
  const map = step("create /16", () => core.create(65536));
  step("first allocate", () => core.allocate(map, -1));
  step("second allocate", () => core.allocate(map, 0));
  return steps;
}

/** The same through the face, or through the twin: construct and allocate once. */
function coldFace(kind: "WASM" | "twin"): Record<string, number> {
  const begin = Bun.nanoseconds();
  new KINDS[kind](65536).allocate();
  return { [kind]: (Bun.nanoseconds() - begin) / 1000 };
}

async function child(...args: string[]): Promise<any> {
  const process = Bun.spawn([Bun.argv[0]!, import.meta.path, ...args], { stdout: "pipe", stderr: "inherit" });
  return JSON.parse(await process.stdout.text());
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}

function label(fill: number): string {
  return fill === 1 ? "one free" : `${fill * 100} %`;
}

function figure(value: number): string {
  return value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString("en");
}

function table(cells: Cell[]): string[] {
  const lines = [
    "| size | taken | calls | WASM | twin | linear | Set | WASM : twin |",
    "|---|---|---|--:|--:|--:|--:|--:|",
  ];
  for (const first of cells.filter((cell) => cell.kind === "WASM")) {
    const { prefix, fill, bulk } = first;
    const row = cells.filter((cell) => cell.prefix === prefix && cell.fill === fill && cell.bulk === bulk);
    const shown = row.map(
      ({ rounds }) => figure(median(rounds)) + (rounds.length < ROUNDS ? ` (${rounds.length})` : ""),
    );
    const twin = row.find((cell) => cell.kind === "twin")!.rounds;
    const ratio = median(first.rounds.map((value, round) => value / twin[round]!)).toFixed(2);
    lines.push(`| /${prefix} | ${label(fill)} | ${bulk ? "bulk" : "single"} | ${shown.join(" | ")} | ${ratio} |`);
  }
  return lines;
}

/** The whole benchmark as markdown; about a minute. */
export async function report(): Promise<string> {
  const cells: Cell[] = [];
  for (const prefix of PREFIXES) {
    for (const kinds of TOGETHER) cells.push(...(await child("--size", `${prefix}`, ...kinds)));
  }
  const runs: Record<string, number>[] = [];
  for (let i = 0; i < PROCESSES; i++) {
    runs.push({ ...(await child("--cold")), ...(await child("--face", "WASM")), ...(await child("--face", "twin")) });
  }
  const steps = Object.keys(runs[0]!).filter((name) => name !== "nothing");
  const cell = (prefix: number, fill: number) =>
    median(cells.find((it) => it.prefix === prefix && it.fill === fill && !it.bulk && it.kind === "WASM")!.rounds);
  return [
    "Nanoseconds per allocation and free. A figure in brackets: so many rounds fitted in the time of the cell,",
    `instead of ${ROUNDS}. Bulk calls take ${BULK} at once, or what is free.`,
    "",
    ...table(cells),
    "",
    `/8 with one address free : empty /24 = ${(cell(8, 1) / cell(24, 0)).toFixed(2)} (at most 3).`,
    "",
    `Cold, in microseconds, medians of ${PROCESSES} processes; the last two are all steps through the face.`,
    "",
    `| ${steps.join(" | ")} |`,
    `|${"--:|".repeat(steps.length)}`,
    `| ${steps.map((name) => figure(median(runs.map((run) => run[name]!)))).join(" | ")} |`,
  ].join("\n");
}

if (import.meta.main) {
  const [option, value, ...kinds] = Bun.argv.slice(2);
  if (option === "--size") console.log(JSON.stringify(measure(Number(value), kinds as Kind[])));
  else if (option === "--cold") console.log(JSON.stringify(cold()));
  else if (option === "--face") console.log(JSON.stringify(coldFace(value as "WASM" | "twin")));
  else console.log(await report());
}
