// Which of up to 2^24 addresses of a range are taken, by their index in the range.
// The face of the allocator in wasm/bitmap.ts: that one searches, this one checks and converts.
// Compiled at the first `new` and not before, because a process that needs no search should not pay for one.

import { bitmap as binary } from "../../build/wasm/bitmap.ts";

/** The exports of wasm/bitmap.ts. */
interface Core {
  readonly memory: WebAssembly.Memory;
  readonly level0: { readonly value: number };
  readonly list: { readonly value: number };
  readonly listLength: { readonly value: number };
  init(bits: number): number;
  extend(bits: number): number;
  rebuild(): number;
  popcount(): number;
  count(): number;
  has(index: number): number;
  allocate(after: number): number;
  allocateAt(index: number): number;
  allocateIn(from: number, to: number): number;
  free(index: number): number;
  fill(from: number, to: number): number;
  allocateMany(after: number, n: number): number;
  takeMany(n: number): number;
  freeMany(n: number): number;
}

/** The largest size of one bitmap: a /8. */
export const LARGEST = 2 ** 24;

let module: WebAssembly.Module | undefined;

export class Bitmap {
  readonly #core: Core;
  #size: number;
  #last = -1;

  /** All of `size` indexes free; a RangeError for a size that is not 1 to 2^24 or does not fit in memory. */
  constructor(size: number) {
    module ??= new WebAssembly.Module(Uint8Array.fromBase64(binary));
    this.#core = new WebAssembly.Instance(module).exports as unknown as Core;
    this.#size = held(size, this.#core.init(whole(size)));
  }

  get size(): number {
    return this.#size;
  }

  /** How many are taken. */
  get count(): number {
    return this.#core.count();
  }

  /** Takes the next free index after `after` (default: the last one given out), in a ring; -1 when all are taken. */
  allocate(after = this.#last): number {
    const index = this.#core.allocate((after | 0) === after ? after : -2);
    if (index >= 0) this.#last = index;
    return index;
  }

  /** Takes this index; whether it was free. */
  allocateAt(index: number): boolean {
    return this.#core.allocateAt(whole(index)) === 1;
  }

  /** Takes the lowest free index from `from` to `to`, both included; -1 when there is none. */
  allocateIn(from: number, to: number): number {
    return this.#core.allocateIn(whole(from), whole(to));
  }

  /** Gives this index back; whether it was taken. */
  free(index: number): boolean {
    return this.#core.free(whole(index)) === 1;
  }

  /** Whether this index is taken. */
  has(index: number): boolean {
    return this.#core.has(whole(index)) === 1;
  }

  /** Takes every index from `from` to `to`, both included; how many were free, -1 when out of range. */
  fill(from: number, to: number): number {
    return this.#core.fill(whole(from), whole(to));
  }

  /** Takes up to `n` indexes, each as `allocate` would. */
  allocateMany(n: number): Uint32Array {
    const indexes = new Uint32Array(Math.max(0, Math.min(n, this.#size - this.count)));
    for (let done = 0; done < indexes.length; ) {
      const list = this.#list(indexes.length - done);
      this.#core.allocateMany(this.#last, list.length);
      indexes.set(list, done);
      done += list.length;
      this.#last = indexes[done - 1]!;
    }
    return indexes;
  }

  /** Takes these indexes; how many were free. Those out of range are passed over. */
  takeMany(indexes: Uint32Array): number {
    let sum = 0;
    for (let done = 0; done < indexes.length; done += this.#core.listLength.value) {
      const list = this.#list(indexes.length - done);
      list.set(indexes.subarray(done, done + list.length));
      sum += this.#core.takeMany(list.length);
    }
    return sum;
  }

  /** Gives these indexes back; how many were taken. Those out of range are passed over. */
  freeMany(indexes: Uint32Array): number {
    let sum = 0;
    for (let done = 0; done < indexes.length; done += this.#core.listLength.value) {
      const list = this.#list(indexes.length - done);
      list.set(indexes.subarray(done, done + list.length));
      sum += this.#core.freeMany(list.length);
    }
    return sum;
  }

  /** A copy of the map, one bit an index: index 0 is the lowest bit of the first byte. */
  bytes(): Uint8Array {
    return this.#level0().slice();
  }

  /** Puts such a copy in the place of the present map; a RangeError when its length is another. */
  load(bytes: Uint8Array): void {
    const level0 = this.#level0();
    if (bytes.length !== level0.length) {
      throw new RangeError(`Cannot load ${bytes.length} bytes: ${this.#size} addresses need ${level0.length}`);
    }
    level0.set(bytes);
    this.#core.rebuild();
  }

  /** Adds free indexes at the end, up to `size` in all. */
  extend(size: number): void {
    this.#size = held(size, this.#core.extend(whole(size)));
  }

  #level0(): Uint8Array {
    return new Uint8Array(this.#core.memory.buffer, this.#core.level0.value, Math.ceil(this.#size / 8));
  }

  #list(length: number): Uint32Array {
    const { memory, list, listLength } = this.#core;
    return new Uint32Array(memory.buffer, list.value, Math.min(length, listLength.value));
  }
}

/** A number that survives the way into WebAssembly, which would take 2^32 for 0; the rest becomes -1. */
function whole(value: number): number {
  return (value | 0) === value ? value : -1;
}

function held(size: number, answer: number): number {
  if (answer === size) return size;
  const wrong = !(Number.isInteger(size) && size >= 1 && size <= LARGEST);
  throw new RangeError(`Cannot hold ${size} addresses: ${wrong ? `must be 1 to ${LARGEST}` : "out of memory"}`);
}
