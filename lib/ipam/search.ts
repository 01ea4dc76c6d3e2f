// Which address of a range set is next: round robin, as the reference does it, so that an address rests as long as
// possible before somebody else gets it.

import { Bitmap } from "./bitmap.ts";
import { BLOCK, type Index } from "./cache.ts";
import { type RangeSet, rangeOf, type Span } from "./ranges.ts";

/** All that the set may give out, in the order of trial: from the one after `last` round to `last` itself. */
export function spansAfter(set: RangeSet, last: bigint | undefined): Span[] {
  const range = last === undefined ? undefined : rangeOf(set, last);
  const start = range ? set.indexOf(range) : 0;
  const order: Span[] = [];
  const before: Span[] = [];
  for (let i = 0; i < set.length; i++) {
    const each = set[(start + i) % set.length]!;
    for (const span of each.spans) {
      const [from, to] = span;
      if (last === undefined || each !== range || from > last) order.push(span);
      else if (to <= last) before.push(span);
      else {
        before.push([from, last]);
        order.push([last + 1n, to]);
      }
    }
  }
  order.push(...before);
  return order;
}

/** The first address of these spans that the index knows nothing of. Compiles the WebAssembly allocator. */
export function firstFree(spans: readonly Span[], index: Index): bigint | undefined {
  const bitmap = new Bitmap(BLOCK);
  const size = BigInt(BLOCK);
  for (const [first, last] of spans) {
    for (let number = first / size; number <= last / size; number++) {
      const start = number * size;
      const from = first > start ? first : start;
      const to = last < start + size ? last : start + size - 1n;
      const taken = index.block(number);
      if (!taken) return from;
      bitmap.load(taken);
      const free = bitmap.allocateIn(Number(from - start), Number(to - start));
      if (free >= 0) return start + BigInt(free);
    }
  }
  return undefined;
}
