// Which of up to 2^24 indexes are taken: bitmaps under three levels of 64-ary summaries, many in one memory.
// AssemblyScript over raw memory; numbers in, numbers out. Its face is lib/ipam/bitmap.ts.
//
// Memory: the list of the bulk calls, 4096 x u32 from address 0, then the maps one behind the other. Around the
// address of a map, which is what `create` answers and the other exports take first, lie
//        - 8n  level 1, word n            bit i: word i of level 0 is full     downwards, up to 4096 words
//    8         size          u32
//   12         count         u32          how many indexes are taken
//   16         level 3       1 word       bit i: word i of level 2 is full
//   24   + 8n  level 2, word n            bit i: word i of level 1 is full     up to 64 words
//  536   + 8n  level 0, word n            bit i: index i is taken              up to 262144 words
// 64^4 is 2^24, so four levels fit the largest size, and every offset is a constant whatever the size is.
// Words are u64, little-endian. Bits past the end are set in every level: no search has to ask where the end is.
//
// Answers: an index or a number of indexes; 1 and 0 for yes and no; -1 for none or for input out of range. Only the
// address of a map is taken on trust. One memory for all maps, because a call is fast only while its site knows
// one instance (eight: 70 ns instead of 5). No SIMD, because engines refuse such a module on a CPU without AVX,
// and only `rebuild` gains.

const SIZE: usize = 8;
const COUNT: usize = 12;
const LEVEL3: usize = 16;
const LEVEL2: usize = 24;
const LEVEL0: usize = 536;
const FULL: u64 = ~0;

/** How many indexes the list holds. */
export const listLength: i32 = 4096;
/** From the address of a map to its level 0; a stored one is copied there and rebuilt. */
export const level0: i32 = 536;

/** The first address not in use. */
let top: usize = <usize>listLength << 2;

/** Makes a map of `bits` free indexes; answers its address, or -1 when out of range or out of memory. */
export function create(bits: i32): i32 {
  if (<u32>(bits - 1) >= 1 << 24) return -1;
  const words = <usize>(bits + 63) >> 6;
  const map = top + (((words - 1) >> 6) << 3);
  const end = map + LEVEL0 + (words << 3);
  const missing = <i32>((end + 0xffff) >> 16) - memory.size();
  if (missing > 0 && memory.grow(missing) < 0) return -1;
  top = end;
  store<i32>(map, bits, SIZE);
  blank(map);
  return <i32>map;
}

/** Computes count and summaries again from level 0; answers the count. */
export function rebuild(map: usize): i32 {
  const size = load<i32>(map, SIZE);
  blank(map);
  for (let index = 0; index < size; index += 64) {
    if (load<u64>(word(map, index), LEVEL0) == FULL) fillUp(map, index);
  }
  const count = popcount(map);
  store<i32>(map, count, COUNT);
  return count;
}

/** Counts the bits of level 0 one word after the other: what `count` must always equal. */
export function popcount(map: usize): i32 {
  const size = load<i32>(map, SIZE);
  let sum: i64 = 0;
  for (let index = 0; index < size; index += 64) sum += popcnt<i64>(load<i64>(word(map, index), LEVEL0));
  return <i32>sum - (-size & 63);
}

/** How many indexes are taken. */
export function count(map: usize): i32 {
  return load<i32>(map, COUNT);
}

/** Whether the index is taken. */
export function has(map: usize, index: i32): i32 {
  if (<u32>index >= load<u32>(map, SIZE)) return -1;
  return <i32>((load<u64>(word(map, index), LEVEL0) >> index) & 1);
}

/** Takes the next free index after `after`, beginning again at 0 behind the end; after -1 it is the lowest. */
export function allocate(map: usize, after: i32): i32 {
  return take(map, after);
}

/** Takes this index: 1, or 0 when it was taken. */
export function allocateAt(map: usize, index: i32): i32 {
  if (<u32>index >= load<u32>(map, SIZE)) return -1;
  if ((load<u64>(word(map, index), LEVEL0) >> index) & 1) return 0;
  set(map, index);
  return 1;
}

/** Takes the lowest free index from `from` to `to`, both included. */
export function allocateIn(map: usize, from: i32, to: i32): i32 {
  if (<u32>from > <u32>to || <u32>to >= load<u32>(map, SIZE)) return -1;
  const index = search(map, from);
  if (<u32>index > <u32>to) return -1;
  set(map, index);
  return index;
}

/** Gives this index back: 1, or 0 when it was free. */
export function free(map: usize, index: i32): i32 {
  if (<u32>index >= load<u32>(map, SIZE)) return -1;
  const value = load<u64>(word(map, index), LEVEL0);
  if (!((value >> index) & 1)) return 0;
  store<u64>(word(map, index), value & ~(<u64>1 << index), LEVEL0);
  store<i32>(map, load<i32>(map, COUNT) - 1, COUNT);
  if (value == FULL) makeRoom(map, index);
  return 1;
}

/** Takes every index from `from` to `to`, both included; answers how many of them were free. */
export function fill(map: usize, from: i32, to: i32): i32 {
  if (<u32>from > <u32>to || <u32>to >= load<u32>(map, SIZE)) return -1;
  let sum: i64 = 0;
  for (let low = from & ~63; low <= to; low += 64) {
    let mask = FULL;
    if (low < from) mask <<= from;
    if (to - low < 63) mask &= ~(-2 << to);
    const value = load<u64>(word(map, low), LEVEL0);
    store<u64>(word(map, low), value | mask, LEVEL0);
    sum += popcnt<i64>(mask & ~value);
    if ((value | mask) == FULL) fillUp(map, low);
  }
  store<i32>(map, load<i32>(map, COUNT) + <i32>sum, COUNT);
  return <i32>sum;
}

/** Takes up to `n` indexes as `allocate` does, one after the other, and lists them; answers how many. */
export function allocateMany(map: usize, after: i32, n: i32): i32 {
  if (<u32>n > <u32>listLength) return -1;
  for (let i = 0; i < n; i++) {
    after = take(map, after);
    if (after < 0) return i;
    store<i32>(<usize>i << 2, after);
  }
  return n;
}

/** Takes the first `n` listed indexes; answers how many were free. Those out of range are passed over. */
export function takeMany(map: usize, n: i32): i32 {
  if (<u32>n > <u32>listLength) return -1;
  let sum = 0;
  for (let i = 0; i < n; i++) {
    if (allocateAt(map, load<i32>(<usize>i << 2)) == 1) sum++;
  }
  return sum;
}

/** Gives the first `n` listed indexes back; answers how many were taken. Those out of range are passed over. */
export function freeMany(map: usize, n: i32): i32 {
  if (<u32>n > <u32>listLength) return -1;
  let sum = 0;
  for (let i = 0; i < n; i++) {
    if (free(map, load<i32>(<usize>i << 2)) == 1) sum++;
  }
  return sum;
}

// Shift counts wrap at 64, so `1 << index` is the bit of an index within its word, `FULL << index` that bit and all
// above it, and `-2 << index` all above it. An index shifted right by 6 is its bit one level up.

/** The word of level 0 that holds this index, without the offset of the level. */
function word(map: usize, index: i32): usize {
  return map + ((<usize>index >> 6) << 3);
}

/** Takes the next free index after `after` in the ring. */
// @ts-ignore: decorator
@inline
function take(map: usize, after: i32): i32 {
  const size = load<u32>(map, SIZE);
  const from = after + 1;
  let index = -1;
  if (<u32>from < size) {
    // Nearly always this word has room, and then it is read and written once.
    const value = load<u64>(word(map, from), LEVEL0);
    const room = ~value & (FULL << from);
    if (room) {
      const taken = value | (room & -room);
      store<u64>(word(map, from), taken, LEVEL0);
      store<i32>(map, load<i32>(map, COUNT) + 1, COUNT);
      if (taken == FULL) fillUp(map, from);
      return (from & ~63) | <i32>ctz(room);
    }
    index = above(map, from);
  } else if (<u32>from != size) return -1;
  if (index < 0) {
    const room = ~load<u64>(map, LEVEL3);
    if (!room) return -1;
    index = down(map, <i32>ctz(room));
  }
  set(map, index);
  return index;
}

/** The lowest free index not below `from`, or -1. */
function search(map: usize, from: i32): i32 {
  const room = ~load<u64>(word(map, from), LEVEL0) & (FULL << from);
  return room ? (from & ~63) | <i32>ctz(room) : above(map, from);
}

/** The lowest free index behind the word of `from`, or -1: up to a word that has room, and down again. */
function above(map: usize, from: i32): i32 {
  let n = from >> 6;
  let room = ~load<u64>(map - ((<usize>n >> 6) << 3)) & (-2 << n);
  if (room) return lowest(map, (n & ~63) | <i32>ctz(room));
  n >>= 6;
  room = ~load<u64>(word(map, n), LEVEL2) & (-2 << n);
  if (room) return lower(map, (n & ~63) | <i32>ctz(room));
  n >>= 6;
  room = ~load<u64>(map, LEVEL3) & (-2 << n);
  return room ? down(map, <i32>ctz(room)) : -1;
}

/** The lowest free index under word `n` of level 2, which has room. */
function down(map: usize, n: i32): i32 {
  return lower(map, (n << 6) | <i32>ctz(~load<u64>(map + (<usize>n << 3), LEVEL2)));
}

/** The lowest free index under word `n` of level 1, which has room. */
function lower(map: usize, n: i32): i32 {
  return lowest(map, (n << 6) | <i32>ctz(~load<u64>(map - (<usize>n << 3))));
}

/** The lowest free index in word `n` of level 0, which has room. */
function lowest(map: usize, n: i32): i32 {
  return (n << 6) | <i32>ctz(~load<u64>(map + (<usize>n << 3), LEVEL0));
}

/** Takes an index that is free. */
function set(map: usize, index: i32): void {
  const value = load<u64>(word(map, index), LEVEL0) | (<u64>1 << index);
  store<u64>(word(map, index), value, LEVEL0);
  store<i32>(map, load<i32>(map, COUNT) + 1, COUNT);
  if (value == FULL) fillUp(map, index);
}

/** The word of this index became full: says so above, as far up as words become full by it. */
function fillUp(map: usize, index: i32): void {
  let n = index >> 6;
  if (!mark(map - ((<usize>n >> 6) << 3), n)) return;
  n >>= 6;
  if (mark(word(map, n) + LEVEL2, n)) mark(map + LEVEL3, n >> 6);
}

/** The word of this index was full and has room now: says so above. */
function makeRoom(map: usize, index: i32): void {
  let n = index >> 6;
  if (!unmark(map - ((<usize>n >> 6) << 3), n)) return;
  n >>= 6;
  if (unmark(word(map, n) + LEVEL2, n)) unmark(map + LEVEL3, n >> 6);
}

/** Sets a bit of the word at this address; whether the word is full now. */
function mark(address: usize, bit: i32): bool {
  const value = load<u64>(address) | (<u64>1 << bit);
  store<u64>(address, value);
  return value == FULL;
}

/** Clears a bit of the word at this address; whether the word was full. */
function unmark(address: usize, bit: i32): bool {
  const value = load<u64>(address);
  store<u64>(address, value & ~(<u64>1 << bit));
  return value == FULL;
}

/** Lets the summaries say that nothing below is full, but past the end; sets the bits past the end of level 0. */
function blank(map: usize): void {
  const size = load<i32>(map, SIZE);
  const words0 = (size + 63) >> 6;
  const words1 = (words0 + 63) >> 6;
  const words2 = (words1 + 63) >> 6;
  store<i32>(map, 0, COUNT);
  const low1 = map - (<usize>(words1 - 1) << 3);
  memory.fill(low1, 0, <usize>words1 << 3);
  memory.fill(map + LEVEL2, 0, <usize>words2 << 3);
  store<u64>(map, 0, LEVEL3);
  if (size & 63) store<u64>(word(map, size), load<u64>(word(map, size), LEVEL0) | (FULL << size), LEVEL0);
  if (words0 & 63) store<u64>(low1, FULL << words0);
  if (words1 & 63) store<u64>(word(map, words1), FULL << words1, LEVEL2);
  if (words2 & 63) store<u64>(map, FULL << words2, LEVEL3);
}
