// The allocator of wasm/bitmap.ts once more, in plain TypeScript behind the face of lib/ipam/bitmap.ts: the same
// four levels of 64-ary summaries and the same searches, each 64-bit word being two Int32Array elements.
// Tests run one body on both; the benchmark asks whether WebAssembly is worth its loading.

const LARGEST = 2 ** 24;

export class BitmapTwin {
  readonly size: number;
  count = 0;
  #last = -1;
  readonly #level0: Int32Array;
  readonly #level1 = new Int32Array(8192);
  readonly #level2 = new Int32Array(128);
  readonly #level3 = new Int32Array(2);

  constructor(size: number) {
    if (!(Number.isInteger(size) && size >= 1 && size <= LARGEST)) {
      throw new RangeError(`Cannot hold ${size} addresses: must be 1 to ${LARGEST}`);
    }
    this.size = size;
    this.#level0 = new Int32Array(2 * Math.ceil(size / 64));
    this.#blank();
  }

  allocate(after?: number): number {
    const last = after ?? this.#last;
    if ((last | 0) !== last || last < -1 || last >= this.size) return -1;
    const index = this.#next(last);
    if (index < 0) return -1;
    this.#set(index);
    this.#last = index;
    return index;
  }

  allocateAt(index: number): boolean {
    if (!this.#valid(index) || this.#isSet(index)) return false;
    this.#set(index);
    return true;
  }

  allocateIn(from: number, to: number): number {
    if (!this.#valid(from) || !this.#valid(to) || from > to) return -1;
    const index = this.#search(from);
    if (index < 0 || index > to) return -1;
    this.#set(index);
    return index;
  }

  free(index: number): boolean {
    if (!this.#valid(index) || !this.#isSet(index)) return false;
    this.#clear(index);
    return true;
  }

  has(index: number): boolean {
    return this.#valid(index) && this.#isSet(index);
  }

  fill(from: number, to: number): number {
    if (!this.#valid(from) || !this.#valid(to) || from > to) return -1;
    const before = this.count;
    for (let index = from; index <= to; index++) this.allocateAt(index);
    return this.count - before;
  }

  allocateMany(n: number): Uint32Array {
    const indexes = new Uint32Array(Math.max(0, Math.min(n, this.size - this.count)));
    let last = this.#last;
    for (let i = 0; i < indexes.length; i++) {
      last = this.#next(last);
      this.#set(last);
      indexes[i] = last;
    }
    this.#last = last;
    return indexes;
  }

  takeMany(indexes: Uint32Array): number {
    const before = this.count;
    for (let i = 0; i < indexes.length; i++) {
      const index = indexes[i]!;
      if (index < this.size && !this.#isSet(index)) this.#set(index);
    }
    return this.count - before;
  }

  freeMany(indexes: Uint32Array): number {
    const before = this.count;
    for (let i = 0; i < indexes.length; i++) {
      const index = indexes[i]!;
      if (index < this.size && this.#isSet(index)) this.#clear(index);
    }
    return before - this.count;
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.#level0.buffer, 0, Math.ceil(this.size / 8)).slice();
  }

  load(bytes: Uint8Array): void {
    const level0 = new Uint8Array(this.#level0.buffer, 0, Math.ceil(this.size / 8));
    if (bytes.length !== level0.length) {
      throw new RangeError(`Cannot load ${bytes.length} bytes: ${this.size} addresses need ${level0.length}`);
    }
    level0.set(bytes);
    this.#rebuild();
  }

  #valid(index: number): boolean {
    return (index | 0) === index && index >= 0 && index < this.size;
  }

  #isSet(index: number): boolean {
    return ((this.#level0[index >> 5]! >>> index) & 1) === 1;
  }

  #next(after: number): number {
    if (this.count === this.size) return -1;
    const index = after + 1 < this.size ? this.#search(after + 1) : -1;
    return index >= 0 ? index : this.#descend(lowest(this.#level3, 0));
  }

  #search(from: number): number {
    let bit = above(this.#level0, from);
    if (bit >= 0) return bit;
    let n = (from >> 6) + 1;
    bit = n & 63 ? above(this.#level1, n) : -1;
    if (bit >= 0) return lowest(this.#level0, bit);
    n = (from >> 12) + 1;
    bit = n & 63 ? above(this.#level2, n) : -1;
    if (bit >= 0) return lowest(this.#level0, lowest(this.#level1, bit));
    n = (from >> 18) + 1;
    bit = n & 63 ? above(this.#level3, n) : -1;
    return bit >= 0 ? this.#descend(bit) : -1;
  }

  #descend(n: number): number {
    return lowest(this.#level0, lowest(this.#level1, lowest(this.#level2, n)));
  }

  #set(index: number): void {
    this.count++;
    if (!mark(this.#level0, index)) return;
    if (!mark(this.#level1, index >> 6)) return;
    if (mark(this.#level2, index >> 12)) mark(this.#level3, index >> 18);
  }

  #clear(index: number): void {
    this.count--;
    if (!unmark(this.#level0, index)) return;
    if (!unmark(this.#level1, index >> 6)) return;
    if (unmark(this.#level2, index >> 12)) unmark(this.#level3, index >> 18);
  }

  #rebuild(): void {
    const level0 = this.#level0;
    this.#blank();
    this.count = -(-this.size & 63);
    for (let n = 0; n < level0.length; n += 2) {
      this.count += ones(level0[n]!) + ones(level0[n + 1]!);
      if ((level0[n]! & level0[n + 1]!) !== -1 || !mark(this.#level1, n >> 1)) continue;
      if (mark(this.#level2, n >> 7)) mark(this.#level3, n >> 13);
    }
  }

  #blank(): void {
    this.count = 0;
    past(this.#level0, this.size);
    let n = this.size;
    for (const level of [this.#level1, this.#level2, this.#level3]) {
      n = Math.ceil(n / 64);
      level.fill(0, 0, 2 * Math.ceil(n / 64));
      past(level, n);
    }
  }
}

/** Sets the bits from `end` on in the last word of a level. */
function past(level: Int32Array, end: number): void {
  for (; end & 63; end++) level[end >> 5]! |= 1 << end;
}

/** The lowest clear bit not below `from` within its 64-bit word, or -1. */
function above(level: Int32Array, from: number): number {
  let n = from >> 5;
  let room = ~level[n]! & (-1 << from);
  if (room === 0) {
    if (n & 1) return -1;
    room = ~level[++n]!;
    if (room === 0) return -1;
  }
  return (n << 5) | (31 - Math.clz32(room & -room));
}

/** The lowest clear bit of 64-bit word `n`, which has one. */
function lowest(level: Int32Array, n: number): number {
  n <<= 1;
  let room = ~level[n]!;
  if (room === 0) room = ~level[++n]!;
  return (n << 5) | (31 - Math.clz32(room & -room));
}

/** Sets a bit; whether its 64-bit word is full now. */
function mark(level: Int32Array, bit: number): boolean {
  const n = bit >> 5;
  const word = level[n]! | (1 << bit);
  level[n] = word;
  return word === -1 && level[n ^ 1] === -1;
}

/** Clears a bit; whether its 64-bit word was full. */
function unmark(level: Int32Array, bit: number): boolean {
  const n = bit >> 5;
  const word = level[n]!;
  level[n] = word & ~(1 << bit);
  return word === -1 && level[n ^ 1] === -1;
}

function ones(word: number): number {
  word -= (word >>> 1) & 0x55555555;
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
