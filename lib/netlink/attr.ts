// Netlink attributes: a table of fields gives the codec and, through Values, the TypeScript type.
// Layout: linux/netlink.h struct nlattr, u16 length, u16 type, payload, padded to 4 bytes; host byte order
// (little-endian on every machine that we build for) unless the field says otherwise.
import { formatIp, formatMac, parseIp, parseMac } from "./inet.ts";

const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A growing message buffer. */
export class Writer {
  bytes: Uint8Array;
  view: DataView;
  length = 0;

  constructor(size = 4096) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  /** Reserves `count` zeroed bytes and returns where they begin. */
  skip(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.bytes.length) {
      const larger = new Uint8Array(Math.max(this.length, this.bytes.length * 2));
      larger.set(this.bytes);
      this.bytes = larger;
      this.view = new DataView(larger.buffer);
    }
    return at;
  }

  u8(value: number): void {
    const at = this.skip(1);
    this.view.setUint8(at, within(value, 0xff));
  }

  u16(value: number): void {
    const at = this.skip(2);
    this.view.setUint16(at, within(value, 0xffff), true);
  }

  u32(value: number): void {
    const at = this.skip(4);
    this.view.setUint32(at, within(value, 0xffffffff), true);
  }

  put(bytes: Uint8Array): void {
    const at = this.skip(bytes.length);
    this.bytes.set(bytes, at);
  }

  align(): void {
    this.skip(-this.length & 3);
  }

  /** The message so far. */
  done(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}

// A DataView would take any value and cut it to fit.
function within<T extends number | bigint>(value: T, max: T, min = 0): T {
  const isWhole = typeof max === "bigint" ? typeof value === "bigint" : Number.isInteger(value);
  if (!isWhole || value < min || value > max) {
    throw new RangeError(`Cannot write ${value}: must be a whole number from ${min} to ${max}`);
  }
  return value;
}

/** How one kind of payload is written and read. `nested` marks payloads made of attributes. */
export interface Type<T> {
  readonly nested?: boolean;
  write(to: Writer, value: T): void;
  read(from: Uint8Array): T;
}

export type Fields = Record<string, readonly [number, Type<any>]>;

/** The object that a table of fields describes; every field may be absent. */
export type Values<F extends Fields> = { [N in keyof F]?: F[N][1] extends Type<infer T> ? T : never };

/** A table as a codec: it also is the Type of a nested attribute. */
export interface Table<F extends Fields> extends Type<Values<F>> {
  readonly fields: F;
}

/** Makes a codec of a table. Unknown attributes are skipped when read; an unknown name written is a TypeError. */
export function attrs<const F extends Fields>(fields: F): Table<F> {
  // Names by number, laid out at the first reading: most tables of a process are never read.
  let names: (string | undefined)[] | undefined;
  const index = () => {
    names = [];
    for (const name in fields) names[fields[name]![0]] = name;
    return names;
  };
  return {
    fields,
    nested: true,
    write(to, values) {
      for (const name in values) {
        const value = values[name];
        if (value === undefined) continue;
        const field = Object.hasOwn(fields, name) && fields[name];
        if (!field) throw new TypeError(`Cannot write attribute "${name}": the table has none of that name`);
        if (field[1] === flag && value === false) continue;
        writeAttr(to, field[0], field[1], value);
      }
    },
    read(from) {
      const values: Record<string, unknown> = {};
      const known = names ?? index();
      // eachAttr, written out: of a link's sixty attributes some ten are known, and only they are worth a view.
      for (let at = 0; at + 4 <= from.length; ) {
        const length = lengthAt(from, at);
        const name = known[typeAt(from, at)];
        if (name !== undefined) values[name] = fields[name]![1].read(from.subarray(at + 4, at + length));
        at += (length + 3) & ~3;
      }
      return values as Values<F>;
    },
  };
}

/** Writes one attribute: header, payload, padding. */
export function writeAttr<T>(to: Writer, type: number, codec: Type<T>, value: T): void {
  const at = to.skip(4);
  codec.write(to, value);
  const length = to.length - at;
  if (length > 0xffff) throw new RangeError(`Cannot write attribute ${type}: ${length} bytes is over 65535`);
  to.view.setUint16(at, length, true);
  to.view.setUint16(at + 2, codec.nested ? type | NLA_F_NESTED : type, true);
  to.align();
}

/** Calls `visit` for each attribute of a payload, in order. */
export function eachAttr(from: Uint8Array, visit: (type: number, payload: Uint8Array) => void): void {
  for (let at = 0; at + 4 <= from.length; ) {
    const length = lengthAt(from, at);
    visit(typeAt(from, at), from.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
}

function typeAt(from: Uint8Array, at: number): number {
  return (from[at + 2]! | (from[at + 3]! << 8)) & NLA_TYPE_MASK;
}

function lengthAt(from: Uint8Array, at: number): number {
  const length = from[at]! | (from[at + 1]! << 8);
  if (length < 4 || at + length > from.length)
    throw new RangeError(`Cannot read an attribute of ${length} bytes: ${from.length - at} are left`);
  return length;
}

function whole(bytes: 1 | 2 | 4, little: boolean): Type<number> {
  const max = 2 ** (bytes * 8) - 1;
  return {
    write(to, value) {
      within(value, max);
      const at = to.skip(bytes);
      if (bytes === 1) to.view.setUint8(at, value);
      else if (bytes === 2) to.view.setUint16(at, value, little);
      else to.view.setUint32(at, value, little);
    },
    read(from) {
      // The kernel may widen a number; it never narrows one.
      if (from.length < bytes) throw new RangeError(`Cannot read ${bytes * 8} bits from ${from.length} bytes`);
      const view = new DataView(from.buffer, from.byteOffset, from.length);
      return bytes === 1 ? view.getUint8(0) : bytes === 2 ? view.getUint16(0, little) : view.getUint32(0, little);
    },
  };
}

function whole64(little: boolean): Type<bigint> {
  return {
    write(to, value) {
      const at = to.skip(8);
      to.view.setBigUint64(at, within(value, 0xffff_ffff_ffff_ffffn), little);
    },
    read(from) {
      if (from.length < 8) throw new RangeError(`Cannot read 64 bits from ${from.length} bytes`);
      return new DataView(from.buffer, from.byteOffset, 8).getBigUint64(0, little);
    },
  };
}

export const u8 = whole(1, true);
export const u16 = whole(2, true);
export const u32 = whole(4, true);
export const be16 = whole(2, false);
export const be32 = whole(4, false);
export const u64 = whole64(true);
export const be64 = whole64(false);

export const i32: Type<number> = {
  write(to, value) {
    const at = to.skip(4);
    to.view.setInt32(at, within(value, 0x7fffffff, -0x80000000), true);
  },
  read: (from) => u32.read(from) | 0,
};

/** Presence is the value. */
export const flag: Type<boolean> = { write: () => {}, read: () => true };

/** A truth value carried as one byte. */
export const bool: Type<boolean> = { write: (to, value) => to.u8(value ? 1 : 0), read: (from) => u8.read(from) !== 0 };

/** Text, NUL-terminated on the wire. */
export const text: Type<string> = {
  write(to, value) {
    if (value.includes("\0")) throw new TypeError(`Cannot write ${JSON.stringify(value)}: it holds a NUL`);
    to.put(encoder.encode(value));
    to.u8(0);
  },
  read(from) {
    const end = from.indexOf(0);
    return decoder.decode(end < 0 ? from : from.subarray(0, end));
  },
};

export const bytes: Type<Uint8Array> = { write: (to, value) => to.put(value), read: (from) => new Uint8Array(from) };

/** An address as text. */
export const ip: Type<string> = {
  write(to, value) {
    const address = parseIp(value);
    if (!address) throw new TypeError(`Cannot write address "${value}": not an IP address`);
    to.put(address);
  },
  read: formatIp,
};

/** A link-layer address as text. */
export const mac: Type<string> = {
  write(to, value) {
    const address = parseMac(value);
    if (!address) throw new TypeError(`Cannot write MAC "${value}": not six bytes in hexadecimal`);
    to.put(address);
  },
  read: formatMac,
};

/** A fixed C structure: fields in order, no headers. Only whole numbers and byte runs go in. */
export function struct<const F extends Record<string, Type<any>>>(
  size: number,
  fields: F,
  sizes: { [N in keyof F]: number },
): Type<{ [N in keyof F]: F[N] extends Type<infer T> ? T : never }> {
  return {
    write(to, value) {
      const start = to.length;
      for (const name in fields) fields[name]!.write(to, value[name]);
      to.skip(size - (to.length - start));
    },
    read(from) {
      const value: Record<string, unknown> = {};
      let at = 0;
      for (const name in fields) {
        value[name] = fields[name]!.read(from.subarray(at, at + sizes[name]!));
        at += sizes[name]!;
      }
      return value as any;
    },
  };
}

/** Attributes of one type, repeated inside a nest. */
export function list<T>(item: number, type: Type<T>): Type<T[]> {
  return {
    nested: true,
    write(to, values) {
      for (const value of values) writeAttr(to, item, type, value);
    },
    read(from) {
      const values: T[] = [];
      eachAttr(from, (_, payload) => values.push(type.read(payload)));
      return values;
    },
  };
}
