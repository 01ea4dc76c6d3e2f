// Which of up to 2^24 addresses of a range are taken, each by its index in the range.
// The face of the allocator in wasm/bitmap.ts: that one searches, this one checks and converts.
// It is compiled at the first `new Bitmap` and not before: a process that needs no search should not pay for one.
// Compiling starts threads of the engine, which stay in the network namespace of that moment: not inside a pod's.

import { bitmap as binary } from "../../build/wasm/bitmap.ts";

/** The largest size of a bitmap: a /8. */
export const LARGEST = 2 ** 24;

/** Fewer than so many are copied faster one by one than by `set`, with the view that it needs. */
const FEW = 100;

/** The exports of wasm/bitmap.ts, and a view on its list; `map` is what `create` answered. */
interface Core {
  list: Uint32Array;
  readonly memory: WebAssembly.Memory;
  readonly listLength: { readonly value: number };
  readonly level0: { readonly value: number };
  create(bits: number): number;
  rebuild(map: number): number;
  popcount(map: number): number;
  count(map: number): number;
  has(map: number, index: number): number;
  allocate(map: number, after: number): number;
  allocateAt(map: number, index: number): number;
  allocateIn(map: number, from: number, to: number): number;
  free(map: number, index: number): number;
  fill(map: number, from: number, to: number): number;
  allocateMany(map: number, after: number, n: number): number;
  takeMany(map: number, n: number): number;
  freeMany(map: number, n: number): number;
}

let module: WebAssembly.Module | undefined;
/** The instance that new bitmaps go to; it is left to the garbage collector, with its bitmaps, when it is full. */
let current: Core | undefined;

export class Bitmap {
  readonly size: number;
  readonly #core: Core;
  readonly #map: number;
  #last = -1;

  /** All of `size` indexes free; a RangeError for a size that is not 1 to 2^24 or does not fit in memory. */
  constructor(size: number) {
    this.size = size;
    this.#map = create(size);
    this.#core = current!;
  }

  /** How many are taken. */
  get count(): number {
    return this.#core.count(this.#map);
  }

  /** Takes the next free index after `after` (default: the last one given out), in a ring; -1 when there is none. */
  allocate(after?: number): number {
    const index = this.#core.allocate(this.#map, after === undefined ? this.#last : isWhole(after) ? after : -2);
    if (index >= 0) this.#last = index;
    return index;
  }

  /** Takes this index; whether it was free. */
  allocateAt(index: number): boolean {
    return isWhole(index) && this.#core.allocateAt(this.#map, index) === 1;
  }

  /** Takes the lowest free index from `from` to `to`, both included; -1 when there is none. */
  allocateIn(from: number, to: number): number {
    return isWhole(from) && isWhole(to) ? this.#core.allocateIn(this.#map, from, to) : -1;
  }

  /** Gives this index back; whether it was taken. */
  free(index: number): boolean {
    return isWhole(index) && this.#core.free(this.#map, index) === 1;
  }

  /** Whether this index is taken. */
  has(index: number): boolean {
    return isWhole(index) && this.#core.has(this.#map, index) === 1;
  }

  /** Takes every index from `from` to `to`, both included; how many of them were free, -1 when out of range. */
  fill(from: number, to: number): number {
    return isWhole(from) && isWhole(to) ? this.#core.fill(this.#map, from, to) : -1;
  }

  /** Takes up to `n` indexes, one after the other as `allocate` does. */
  allocateMany(n: number): Uint32Array {
    const { list } = this.#core;
    const indexes = new Uint32Array(Math.max(0, Math.min(n, this.size - this.count)));
    for (let done = 0; done < indexes.length; ) {
      const part = this.#core.allocateMany(this.#map, this.#last, Math.min(indexes.length - done, list.length));
      if (part < FEW) for (let i = 0; i < part; i++) indexes[done + i] = list[i]!;
      else indexes.set(list.subarray(0, part), done);
      done += part;
      this.#last = indexes[done - 1]!;
    }
    return indexes;
  }

  /** Takes these indexes; how many were free. Those out of range are passed over. */
  takeMany(indexes: Uint32Array): number {
    const { list } = this.#core;
    let sum = 0;
    for (let done = 0; done < indexes.length; done += list.length) {
      sum += this.#core.takeMany(this.#map, enlist(list, indexes, done));
    }
    return sum;
  }

  /** Gives these indexes back; how many were taken. Those out of range are passed over. */
  freeMany(indexes: Uint32Array): number {
    const { list } = this.#core;
    let sum = 0;
    for (let done = 0; done < indexes.length; done += list.length) {
      sum += this.#core.freeMany(this.#map, enlist(list, indexes, done));
    }
    return sum;
  }

  /** A copy of the map, one bit an index: index 0 is the lowest bit of the first byte. */
  bytes(): Uint8Array {
    return this.#level0().slice();
  }

  /** Puts such a copy in the place of the map; a RangeError when its length is another. */
  load(bytes: Uint8Array): void {
    const level0 = this.#level0();
    if (bytes.length !== level0.length) {
      throw new RangeError(`Cannot load ${bytes.length} bytes: ${this.size} addresses need ${level0.length}`);
    }
    level0.set(bytes);
    this.#core.rebuild(this.#map);
  }

  #level0(): Uint8Array {
    const { memory, level0 } = this.#core;
    return new Uint8Array(memory.buffer, this.#map + level0.value, Math.ceil(this.size / 8));
  }
}

/** Makes a map in the current instance, or in a new one when that is full. */
function create(size: number): number {
  if (!isWhole(size) || size < 1 || size > LARGEST) {
    throw new RangeError(`Cannot hold ${size} addresses: must be 1 to ${LARGEST}`);
  }
  current ??= instance();
  let map = current.create(size);
  if (map < 0) {
    current = instance();
    map = current.create(size);
  }
  if (map < 0) throw new RangeError(`Cannot hold ${size} addresses: out of memory`);
  // Growing detached the buffer.
  current.list = new Uint32Array(current.memory.buffer, 0, current.listLength.value);
  return map;
}

function instance(): Core {
  module ??= new WebAssembly.Module(Uint8Array.fromBase64(binary));
  return { ...(new WebAssembly.Instance(module).exports as unknown as Core) };
}

/** Whether the number survives the way into WebAssembly, which would take 2^32 for 0. */
function isWhole(value: number): boolean {
  return (value | 0) === value;
}

/** Lists indexes from `start` on for a bulk call; how many. */
function enlist(list: Uint32Array, indexes: Uint32Array, start: number): number {
  const n = Math.min(indexes.length - start, list.length);
  if (n < FEW) for (let i = 0; i < n; i++) list[i] = indexes[start + i]!;
  else list.set(n === indexes.length ? indexes : indexes.subarray(start, start + n));
  return n;
}
