// Which addresses of a pool are taken, for spans of any size: the allocator for IPv6 as well as IPv4.
// A span of up to 2^24 addresses has one bitmap. A larger one, up to all of IPv6, is cut into windows of 8,192
// addresses whose bitmaps, 1.6 KB each, come with the first address taken there and go with the last.
// A search looks into one window after the other; the first that nobody used yet ends it, so it passes over full
// windows only: at 60,000 addresses in a row that is eight.

import { Bitmap, LARGEST } from "./bitmap.ts";

const WINDOW = 8192n;

/** One span: what windows it has, by their number in it. */
interface Part {
  readonly first: bigint;
  readonly last: bigint;
  readonly width: bigint;
  readonly windows: Map<bigint, Bitmap>;
  /** Bitmaps of windows where nothing is taken any more. */
  readonly spare: Bitmap[];
}

export class AddressBitmap {
  readonly #parts: readonly Part[];
  #count = 0;
  #last: bigint | undefined;

  /** All addresses of these spans free, asked in this order; what lies in no span is never given out. */
  constructor(spans: readonly (readonly [first: bigint, last: bigint])[]) {
    this.#parts = spans.map(([first, last]) => {
      if (last < first) throw new RangeError(`Cannot use span ${first} to ${last}: the last comes before the first`);
      const size = last - first + 1n;
      return { first, last, width: size <= LARGEST ? size : WINDOW, windows: new Map(), spare: [] };
    });
  }

  /** How many addresses are taken. */
  get count(): number {
    return this.#count;
  }

  /**
   * Takes the next free address after `after` (default: the last one given out), through the spans as in a ring.
   * What is in no span counts as just before the nearest span above, or before the first. Undefined when all are taken.
   */
  allocate(after = this.#last): bigint | undefined {
    const at = this.#begin(after);
    const parts = this.#parts;
    for (let i = 0; i <= parts.length && parts.length > 0; i++) {
      const part = parts[(at + i) % parts.length]!;
      const within = after !== undefined && part.first <= after && after <= part.last;
      const from = within && i === 0 ? after + 1n : part.first;
      const to = within && i > 0 ? after : part.last;
      const address = this.#search(part, from, to);
      if (address === undefined) continue;
      this.#last = address;
      return address;
    }
    return undefined;
  }

  /** Takes this address; whether it was free and in a span. */
  allocateAt(address: bigint): boolean {
    const place = this.#place(address);
    if (!place || !windowOf(place.part, place.number).allocateAt(place.index)) return false;
    this.#count++;
    return true;
  }

  /** Takes the first free address from `from` to `to`, both included; undefined when there is none. */
  allocateIn(from: bigint, to: bigint): bigint | undefined {
    for (const part of this.#parts) {
      const address = this.#search(part, from > part.first ? from : part.first, to < part.last ? to : part.last);
      if (address !== undefined) return address;
    }
    return undefined;
  }

  /** Takes these addresses; how many were free and in a span. */
  takeMany(addresses: Iterable<bigint>): number {
    const before = this.#count;
    for (const address of addresses) this.allocateAt(address);
    return this.#count - before;
  }

  /** Gives this address back; whether it was taken. */
  free(address: bigint): boolean {
    const place = this.#place(address);
    const window = place?.part.windows.get(place.number);
    if (!place || !window?.free(place.index)) return false;
    this.#count--;
    if (window.count === 0) {
      place.part.windows.delete(place.number);
      place.part.spare.push(window);
    }
    return true;
  }

  /** Whether this address is taken. */
  has(address: bigint): boolean {
    const place = this.#place(address);
    return place?.part.windows.get(place.number)?.has(place.index) ?? false;
  }

  /** The span of an address, the number of its window there, and its index in that. */
  #place(address: bigint): { part: Part; number: bigint; index: number } | undefined {
    const part = this.#parts.find(({ first, last }) => first <= address && address <= last);
    if (!part) return undefined;
    const number = (address - part.first) / part.width;
    return { part, number, index: Number(address - part.first - number * part.width) };
  }

  /** Which span, by its place in the list, a search after this address begins with. */
  #begin(address: bigint | undefined): number {
    if (address === undefined) return 0;
    let best = -1;
    this.#parts.forEach(({ first, last }, i) => {
      if (last >= address && (best < 0 || first < this.#parts[best]!.first)) best = i;
    });
    return Math.max(best, 0);
  }

  /** Takes the lowest free address of a span from `from` to `to`. */
  #search(part: Part, from: bigint, to: bigint): bigint | undefined {
    while (from <= to) {
      const number = (from - part.first) / part.width;
      const begin = part.first + number * part.width;
      const end = begin + part.width - 1n < to ? begin + part.width - 1n : to;
      const index = windowOf(part, number).allocateIn(Number(from - begin), Number(end - begin));
      if (index >= 0) {
        this.#count++;
        return begin + BigInt(index);
      }
      from = end + 1n;
    }
    return undefined;
  }
}

function windowOf({ width, windows, spare }: Part, number: bigint): Bitmap {
  const found = windows.get(number);
  if (found) return found;
  const window = spare.pop() ?? new Bitmap(Number(width));
  windows.set(number, window);
  return window;
}
