// The part of protobuf that CRI needs: one table per message, read for encoding and decoding.
// https://protobuf.dev/programming-guides/encoding/
//
//   const metadata = { name: [1, "string"], uid: [2, "string"] } satisfies Fields;
//   const config = { metadata: [1, metadata], labels: [6, "map"], ports: [5, [portMapping]] } satisfies Fields;

/** `int` is a varint up to 2^53; `[x]` repeats x; `map` has text keys and values. */
type Kind = "string" | "bytes" | "int" | "bool" | "map" | Fields;
export type Fields = { readonly [name: string]: readonly [number: number, kind: Kind | readonly [Kind]] };

const entry = { key: [1, "string"], value: [2, "string"] } as const;
const [utf8, text] = [new TextEncoder(), new TextDecoder()];

/** The bytes of `value`; a field that is undefined is absent, a name that the table lacks is a TypeError. */
export function encode(fields: Fields, value: Record<string, any>): Uint8Array {
  const bytes: number[] = [];
  const put = (number: number, kind: Kind, item: any): void => {
    if (kind === "int" || kind === "bool") {
      varint(bytes, number << 3);
      varint(bytes, Number(item));
    } else if (kind === "map") {
      for (const [key, word] of Object.entries(item)) put(number, entry, { key, value: word });
    } else {
      const body = kind === "string" ? utf8.encode(item) : kind === "bytes" ? item : encode(kind, item);
      varint(bytes, (number << 3) | 2);
      varint(bytes, body.length);
      for (const byte of body) bytes.push(byte);
    }
  };
  for (const [name, item] of Object.entries(value)) {
    const [number, kind] = fields[name] ?? refuse(name);
    if (item === undefined) continue;
    if (isRepeated(kind)) for (const one of item) put(number, kind[0], one);
    else put(number, kind, item);
  }
  return Uint8Array.from(bytes);
}

/** The value of `bytes`; repeated fields and maps are there even when empty, others only when sent. */
export function decode(fields: Fields, bytes: Uint8Array): any {
  const names = new Map(Object.entries(fields).map(([name, [number, kind]]) => [number, [name, kind] as const]));
  const value: any = {};
  for (const [name, [, kind]] of Object.entries(fields)) {
    if (isRepeated(kind)) value[name] = [];
    else if (kind === "map") value[name] = {};
  }
  for (let at = 0; at < bytes.length; ) {
    const [tag, afterTag] = readVarint(bytes, at);
    const wire = tag & 7;
    let item: number | Uint8Array;
    if (wire === 0) [item, at] = readVarint(bytes, afterTag);
    else if (wire === 2) {
      const [length, start] = readVarint(bytes, afterTag);
      at = start + length;
      item = bytes.subarray(start, at);
    } else throw new RangeError(`Cannot read wire type ${wire}: not in any CRI message`);
    const [name, kind] = names.get(tag >>> 3) ?? [];
    if (!name || !kind) continue;
    if (isRepeated(kind)) value[name].push(read(kind[0], item));
    else if (kind === "map") {
      const pair = decode(entry, item as Uint8Array);
      value[name][pair.key ?? ""] = pair.value ?? "";
    } else value[name] = read(kind, item);
  }
  return value;
}

function read(kind: Kind, item: any): any {
  if (kind === "string") return text.decode(item);
  if (kind === "bool") return item !== 0;
  return typeof kind === "object" ? decode(kind, item) : item;
}

function isRepeated(kind: Kind | readonly [Kind]): kind is readonly [Kind] {
  return Array.isArray(kind);
}

function refuse(name: string): never {
  throw new TypeError(`Cannot encode field ${name}: not in the table`);
}

function varint(bytes: number[], value: number): void {
  for (; value > 0x7f; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80);
  bytes.push(value);
}

function readVarint(bytes: Uint8Array, at: number): [value: number, next: number] {
  for (let value = 0, scale = 1; at < bytes.length; scale *= 0x80) {
    const byte = bytes[at++]!;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return [value, at];
  }
  throw new RangeError("Cannot read a varint: the message ends inside it");
}
