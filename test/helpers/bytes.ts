// Wire bytes that a reader can check, and generated values for attribute tables.
//
//   hex(`08 00 04 00  length 8, IFLA_MTU
//        78 05 00 00  1400
//        "eth0" 00    text stands for its characters`)
//
// The words after two spaces are for the reader alone.
import * as fc from "fast-check";
import * as attr from "../../lib/netlink/attr.ts";
import { formatIp, formatMac, parseIp } from "../../lib/netlink/inet.ts";
import { type Message, writeMessage } from "../../lib/netlink/socket.ts";

/** The bytes of annotated lines. */
export function hex(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const line of text.split("\n")) {
    const [values = ""] = line.trim().split(/ {2,}/);
    for (const token of values.match(/"[^"]*"|\S+/g) ?? []) {
      if (token.startsWith('"')) bytes.push(...new TextEncoder().encode(token.slice(1, -1)));
      else if (/^[0-9a-f]{2}$/.test(token)) bytes.push(Number.parseInt(token, 16));
      else throw new TypeError(`Cannot read bytes "${line}": "${token}" is neither two digits nor quoted text`);
    }
  }
  return Uint8Array.from(bytes);
}

/** Bytes four to a line, so that a failed comparison shows where. */
export function rows(bytes: Uint8Array): string[] {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 4) lines.push(formatMac(bytes.subarray(at, at + 4)).replaceAll(":", " "));
  return lines;
}

/** What a type makes of a value. */
export function written<T>(type: attr.Type<T>, value: T): Uint8Array {
  const to = new attr.Writer(8); // small, to grow on the way
  type.write(to, value);
  return to.done();
}

/** A message without its header. */
export function bodyOf(message: Message): Uint8Array {
  const to = new attr.Writer();
  message.write(to);
  return to.done();
}

/** A message with its header: sequence number 7, no flags but its own and NLM_F_REQUEST. */
export function messageOf(message: Message): Uint8Array {
  const to = new attr.Writer();
  writeMessage(to, message, 7, 0);
  return to.done();
}

const ip4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map(formatIp);
// A mapped address is written as the IPv4 address that it is.
const ip6 = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map(formatIp)
  .filter((text) => parseIp(text)!.length === 16);

/** Generated IP addresses, of one family or both. */
export const addresses = { ip4, ip6, any: fc.oneof(ip4, ip6) };

const whole = (max: number, min = 0) => fc.oneof(fc.integer({ min, max }), fc.constantFrom(min, max));
const long = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

const generators = new Map<attr.Type<any>, fc.Arbitrary<unknown>>([
  [attr.u8, whole(0xff)],
  [attr.u16, whole(0xffff)],
  [attr.u32, whole(0xffffffff)],
  [attr.i32, whole(0x7fffffff, -0x80000000)],
  [attr.be16, whole(0xffff)],
  [attr.be32, whole(0xffffffff)],
  [attr.u64, long],
  [attr.be64, long],
  [attr.flag, fc.constant(true)],
  [attr.bool, fc.boolean()],
  [attr.text, fc.string({ unit: "grapheme", maxLength: 40 }).filter((text) => !text.includes("\0"))],
  [attr.bytes, fc.uint8Array({ maxLength: 40 })],
  [attr.ip, addresses.any],
  [attr.mac, fc.uint8Array({ minLength: 6, maxLength: 6 }).map(formatMac)],
]);

/** Values of a table with any of its fields present; `others` generates types that only their own file knows. */
export function valuesOf(
  table: attr.Table<any>,
  others: ReadonlyMap<attr.Type<any>, fc.Arbitrary<unknown>> = new Map(),
): fc.Arbitrary<Record<string, unknown>> {
  const model: Record<string, fc.Arbitrary<unknown>> = {};
  for (const name in table.fields) {
    const type: attr.Type<any> = table.fields[name][1];
    const nested = "fields" in type ? valuesOf(type as attr.Table<any>, others) : undefined;
    const values = generators.get(type) ?? others.get(type) ?? nested;
    if (!values) throw new TypeError(`Cannot generate "${name}": nobody said how`);
    model[name] = values;
  }
  return fc.record(model, { requiredKeys: [], noNullPrototype: true });
}
