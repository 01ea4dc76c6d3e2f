// What is known of a directory of reservations without reading it: who holds which address, and a bitmap of those taken.
// The files are the truth. This is a copy of it in one file under /run, or in memory where there is none, made by
// reading all reservations once and kept up by each change after that: 60,000 files are not read for every ADD and DEL.
//
// The copy is complete if and only if the directory's modification time is the one recorded here. Whoever changes the
// directory sets that time to now. So do we, then set it one second back and record that: a time that no later change
// can produce, not even one within the same tick of the file system's clock (4 ms at HZ=250). A crash at any point
// between leaves the two different.
//
// Layout, little-endian:
//   header  64 bytes             magic u64, time i64, addresses taken u32, slots u32, slots used u32, windows u32
//   slots   24 bytes each        hash u32 (0 never used, 1 removed), window u32, address u128
//   windows 2048 bytes each      bit n: address n of a block of 16,384 is taken
// Slots are a hash table with linear probing. A slot with window 0 is a reservation: hash of its owner, its address.
// With window n it says that window n - 1 is of the block that begins with the address. Hashes may collide: whoever
// asks for an owner's addresses looks into the files before acting.
import { readAt, writeAt } from "../sys/file.ts";
import { SystemError } from "../sys/libc.ts";

const MAGIC = 0x3169_6d61_7069_6e74n; // "tnipami1"
const HEADER = 64;
const SLOT = 24;
const PROBE = 16; // slots read at a time
const WINDOW = 2048;
const WINDOW_BITS = 14n;

/** Addresses of one block(). */
export const BLOCK = 65536;
const BLOCK_BITS = 16n;

/** Where the bytes are: a file, or memory that grows. */
interface Bytes {
  read(into: Uint8Array, offset: number): void;
  write(from: Uint8Array, offset: number): void;
}

export class Index {
  #bytes: Bytes;
  #memory: Memory | undefined;
  #header: DataView;
  #broken = false;
  /** The window asked for last. */
  #last: [first: bigint, window: number] = [-1n, 0];

  private constructor(bytes: Bytes, header: DataView) {
    this.#bytes = bytes;
    this.#header = header;
  }

  /** An empty index in memory, with room for `reservations` and as many changes again. */
  static empty(reservations: number): Index {
    let slots = 1024;
    while (slots < reservations * 3) slots *= 2;
    const header = new DataView(new ArrayBuffer(HEADER));
    header.setBigUint64(0, MAGIC, true);
    header.setUint32(20, slots, true);
    const memory = new Memory(HEADER + slots * SLOT);
    const index = new Index(memory, header);
    index.#memory = memory;
    return index;
  }

  /** The index in an open file, if it is complete for a directory of this modification time. */
  static open(fd: number, time: bigint): Index | undefined {
    const header = new DataView(new ArrayBuffer(HEADER));
    if (readAt(fd, new Uint8Array(header.buffer), 0) < HEADER) return undefined;
    if (header.getBigUint64(0, true) !== MAGIC || header.getBigInt64(8, true) !== time) return undefined;
    const slots = header.getUint32(20, true);
    if (slots < PROBE || slots > 1 << 26 || slots & (slots - 1)) return undefined;
    const read = (into: Uint8Array, offset: number) => {
      if (readAt(fd, into, offset) < into.length) into.fill(0);
    };
    const write = (from: Uint8Array, offset: number) => {
      try {
        writeAt(fd, from, offset);
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        index.#broken = true; // no room under /run: no reason to refuse an address
      }
    };
    const index = new Index({ read, write }, header);
    return index;
  }

  /** How many addresses are taken. */
  get count(): number {
    return this.#header.getUint32(16, true);
  }

  /** Whether it is in memory alone. */
  get isNew(): boolean {
    return this.#memory !== undefined;
  }

  /** Whether it should be made anew: it could not be written, or so many slots are used that looking takes long. */
  get isWorn(): boolean {
    return this.#broken || this.#header.getUint32(24, true) > (this.#slots * 3) / 4;
  }

  get #slots(): number {
    return this.#header.getUint32(20, true);
  }

  /** Addresses that `owner` may hold: all that it does, and hardly ever another. */
  candidates(owner: string): bigint[] {
    const found: bigint[] = [];
    const hash = hashOf(owner);
    this.#probe(hash, hash, (slot) => {
      if (windowIn(slot) === 0) found.push(addressIn(slot));
      return false;
    });
    return found;
  }

  /** Notes a reservation; without an owner, that the address is taken. */
  add(address: bigint, owner?: string): void {
    this.#mark(address, true);
    if (owner !== undefined) this.#insert(hashOf(owner), 0, address);
  }

  /** Forgets a reservation. */
  remove(address: bigint, owner: string): void {
    this.#mark(address, false);
    const hash = hashOf(owner);
    this.#probe(hash, hash, (slot, offset) => {
      if (windowIn(slot) !== 0 || addressIn(slot) !== address) return false;
      this.#bytes.write(removed, offset);
      return true;
    });
  }

  /** The bitmap of the 65,536 addresses from number × 65,536 on; undefined if none of them is taken. */
  block(number: bigint): Uint8Array | undefined {
    let block: Uint8Array | undefined;
    for (let at = 0; at < BLOCK / 8; at += WINDOW) {
      const window = this.#window((number << BLOCK_BITS) + BigInt(at * 8));
      if (window === 0) continue;
      block ??= new Uint8Array(BLOCK / 8);
      this.#bytes.read(block.subarray(at, at + WINDOW), this.#offsetOf(window));
    }
    return block;
  }

  /** Writes what is to be kept into an open file, complete for a directory of this modification time. */
  save(fd: number, time: bigint): void {
    if (this.#memory) writeAt(fd, this.#memory.bytes.subarray(HEADER, this.#end), HEADER);
    this.#header.setBigInt64(8, time, true);
    writeAt(fd, bytesOf(this.#header), 0);
  }

  get #end(): number {
    return this.#offsetOf(this.#header.getUint32(28, true) + 1);
  }

  #offsetOf(window: number): number {
    return HEADER + this.#slots * SLOT + (window - 1) * WINDOW;
  }

  #mark(address: bigint, taken: boolean): void {
    let window = this.#window(address);
    if (window === 0) {
      if (!taken) return;
      window = this.#header.getUint32(28, true) + 1;
      const first = (address >> WINDOW_BITS) << WINDOW_BITS;
      this.#bytes.write(new Uint8Array(WINDOW), this.#offsetOf(window));
      this.#insert(hashOfBlock(first), window, first);
      this.#header.setUint32(28, window, true);
    }
    const bit = Number(address & ((1n << WINDOW_BITS) - 1n));
    const offset = this.#offsetOf(window) + (bit >> 3);
    this.#bytes.read(one, offset);
    const mask = 1 << (bit & 7);
    if (((one[0]! & mask) !== 0) === taken) return;
    one[0]! ^= mask;
    this.#bytes.write(one, offset);
    this.#header.setUint32(16, this.count + (taken ? 1 : -1), true);
  }

  /** The window of an address, counted from 1; 0 if there is none. */
  #window(address: bigint): number {
    const first = (address >> WINDOW_BITS) << WINDOW_BITS;
    if (first === this.#last[0]) return this.#last[1];
    const hash = hashOfBlock(first);
    let window = 0;
    this.#probe(hash, hash, (slot) => {
      if (windowIn(slot) === 0 || addressIn(slot) !== first) return false;
      window = windowIn(slot);
      return true;
    });
    if (window > 0) this.#last = [first, window];
    return window;
  }

  #insert(hash: number, window: number, address: bigint): void {
    let again = -1;
    const unused = this.#probe(hash, REMOVED, (_, offset) => {
      again = offset;
      return true;
    });
    if (again < 0 && unused < 0) throw new RangeError(`Cannot index more than ${this.#slots} reservations`);
    if (again < 0) this.#header.setUint32(24, this.#header.getUint32(24, true) + 1, true);
    words[0] = hash;
    words[1] = window;
    longs[1] = address; // the lower half
    longs[2] = address >> 64n;
    this.#bytes.write(cluster.subarray(0, SLOT), again < 0 ? unused : again);
  }

  /**
   * Shows the slots with this mark, from where `hash` begins, until `visit` says enough or an unused slot ends the
   * search. The offset of that one, else -1.
   */
  #probe(hash: number, mark: number, visit: (slot: number, offset: number) => boolean): number {
    const slots = this.#slots;
    for (let seen = 0, at = hash & (slots - 1); seen < slots; ) {
      const count = Math.min(PROBE, slots - at);
      this.#bytes.read(count === PROBE ? cluster : cluster.subarray(0, count * SLOT), HEADER + at * SLOT);
      for (let slot = 0; slot < count; slot++) {
        const found = words[slot * (SLOT / 4)]!;
        const offset = HEADER + (at + slot) * SLOT;
        if (found === UNUSED) return offset;
        if (found === mark && visit(slot, offset)) return -1;
      }
      seen += count;
      at = (at + count) & (slots - 1);
    }
    return -1;
  }
}

const UNUSED = 0;
const REMOVED = 1;
const removed = new Uint8Array([REMOVED, 0, 0, 0]);
const one = new Uint8Array(1);

// The slots read last, as bytes, as 32-bit and as 64-bit numbers.
const cluster = new Uint8Array(PROBE * SLOT);
const words = new Uint32Array(cluster.buffer);
const longs = new BigUint64Array(cluster.buffer);

function windowIn(slot: number): number {
  return words[slot * (SLOT / 4) + 1]!;
}

function addressIn(slot: number): bigint {
  return (longs[slot * (SLOT / 8) + 2]! << 64n) | longs[slot * (SLOT / 8) + 1]!;
}

class Memory implements Bytes {
  bytes: Uint8Array;

  constructor(length: number) {
    this.bytes = new Uint8Array(length + 4 * WINDOW);
  }

  read(into: Uint8Array, offset: number): void {
    into.set(this.bytes.subarray(offset, offset + into.length));
  }

  write(from: Uint8Array, offset: number): void {
    if (offset + from.length > this.bytes.length) {
      const larger = new Uint8Array(this.bytes.length * 2);
      larger.set(this.bytes);
      this.bytes = larger;
    }
    this.bytes.set(from, offset);
  }
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** FNV-1a, stirred so that the low bits are good too; 0 and 1 mean something else. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  hash = (hash ^ (hash >>> 16)) >>> 0;
  return hash < 2 ? hash + 2 : hash;
}

function hashOfBlock(address: bigint): number {
  return hashOf(address.toString(36));
}
