// What rules say, in words: fields of a packet, membership in sets, verdicts. Only this file and expr/ know registers.
// nft(8) says the same with the same words; `nft --debug=netlink` shows what it makes of them.

import { type Cidr, networkOf } from "../netlink/inet.ts";
import type { Verdict } from "./data.ts";
import { maskXor } from "./expr/bitwise.ts";
import { comparisons } from "./expr/cmp.ts";
import { connectionKeys, states } from "./expr/ct.ts";
import { addressType, ofDestination } from "./expr/fib.ts";
import { verdictRegister } from "./expr/immediate.ts";
import { inverted } from "./expr/lookup.ts";
import { metaKeys } from "./expr/meta.ts";
import { destination } from "./expr/nat.ts";
import { bases } from "./expr/payload.ts";
import type { Expression } from "./expression.ts";
import { families } from "./message.ts";

/** Something of a packet that a register can hold. `ip`: only packets of that version have it. */
export interface Field {
  size: number;
  ip?: 4 | 6;
  load(register: number): Expression[];
}

/** A part of a rule. */
export interface Phrase {
  expressions: Expression[];
  ip?: 4 | 6;
}

function inHeader(base: keyof typeof bases, offset: number, size: number, ip?: 4 | 6): Field {
  return { size, ip, load: (register) => [{ name: "payload", register, base: bases[base], offset, length: size }] };
}

function ofMeta(key: keyof typeof metaKeys, size: number): Field {
  return { size, load: (register) => [{ name: "meta", register, key: metaKeys[key] }] };
}

const source = { 4: 12, 6: 8 } as const;
const target = { 4: 16, 6: 24 } as const;
const sizes = { 4: 4, 6: 16 } as const;

/** The source address of an IP packet. */
export const saddr = { 4: inHeader("network", source[4], 4, 4), 6: inHeader("network", source[6], 16, 6) } as const;
/** The destination address of an IP packet. */
export const daddr = { 4: inHeader("network", target[4], 4, 4), 6: inHeader("network", target[6], 16, 6) } as const;
/** The source of an Ethernet frame, in tables of family bridge. */
export const etherSaddr: Field = inHeader("link", 6, 6);
/** The name of the link that a packet came by. */
export const iifname: Field = ofMeta("iifname", 16);
/** The name of the link that a packet leaves by. */
export const oifname: Field = ofMeta("oifname", 16);
/** The number of the protocol that an IP packet carries. */
export const l4proto: Field = ofMeta("l4proto", 1);
/** The destination port: TCP, UDP, SCTP and DCCP have it at the same place. */
export const dport: Field = inHeader("transport", 2, 2);

/** The network that the source address is in, by the length of its prefix. */
export function saddrNetwork(ip: 4 | 6, prefix: number): Field {
  const field = saddr[ip];
  if (prefix === field.size * 8) return field;
  const mask = networkOf({ ip: new Uint8Array(field.size).fill(255), prefix });
  return { ...field, load: (register) => [...field.load(register), masked(register, mask)] };
}

/** The bits of a register that are in `mask`; those of `xor` are turned. */
function masked(register: number, mask: Uint8Array, xor: Uint8Array = new Uint8Array(mask.length)): Expression {
  return { name: "bitwise", from: register, register, op: maskXor, length: mask.length, mask, xor };
}

// Registers are 4 bytes wide and numbered from 8 on (NFT_REG32_00); every fourth is also known by the old number of
// the 16 bytes that it begins (NFT_REG_1 to NFT_REG_4), and the kernel tells of it by that.
function register(slot: number): number {
  return slot % 4 === 0 ? 1 + slot / 4 : 8 + slot;
}

/** Loads fields side by side, each at a whole register. */
function loaded(fields: Field | readonly Field[]): Phrase {
  let slot = 0;
  const several = Array.isArray(fields) ? (fields as readonly Field[]) : [fields as Field];
  const expressions = several.flatMap((field) => {
    const load = field.load(register(slot));
    slot += Math.ceil(field.size / 4);
    return load;
  });
  return { expressions, ip: several.find(({ ip }) => ip)?.ip };
}

function member(fields: Field | readonly Field[], set: { name: string }, flags: number): Phrase {
  const { expressions, ip } = loaded(fields);
  expressions.push({ name: "lookup", set: set.name, register: register(0), flags });
  return { expressions, ip };
}

/** The field, or fields side by side, are an element of the set. */
export function inSet(fields: Field | readonly Field[], set: { name: string }): Phrase {
  return member(fields, set, 0); // said, not left out: a rule that is read must say it too
}

/** The field, or fields side by side, are no element of the set. */
export function notInSet(fields: Field | readonly Field[], set: { name: string }): Phrase {
  return member(fields, set, inverted);
}

function compared(load: Expression[], op: keyof typeof comparisons, value: Uint8Array, ip?: 4 | 6): Phrase {
  return { expressions: [...load, { name: "cmp", register: register(0), op: comparisons[op], value }], ip };
}

/** Like nft(8), looks at the bytes that the prefix fills alone if it ends at one. */
function within(offsets: typeof source | typeof target, network: Cidr, op: keyof typeof comparisons): Phrase {
  const ip = network.ip.length === 4 ? 4 : 6;
  const value = networkOf(network);
  if (network.prefix > 0 && network.prefix % 8 === 0) {
    const length = network.prefix / 8;
    return compared(inHeader("network", offsets[ip], length).load(register(0)), op, value.slice(0, length), ip);
  }
  const mask = networkOf({ ip: new Uint8Array(sizes[ip]).fill(255), prefix: network.prefix });
  const load = inHeader("network", offsets[ip], sizes[ip]).load(register(0));
  return compared([...load, masked(register(0), mask)], op, value, ip);
}

/** The source address is in the network. */
export const fromNetwork = (network: Cidr): Phrase => within(source, network, "equal");
export const notFromNetwork = (network: Cidr): Phrase => within(source, network, "unequal");
/** The destination address is in the network. */
export const toNetwork = (network: Cidr): Phrase => within(target, network, "equal");
export const notToNetwork = (network: Cidr): Phrase => within(target, network, "unequal");

/** The packet came by the link of this name. */
export const byLink = (name: string): Phrase => compared(iifname.load(register(0)), "equal", linkBytes(name));
export const notByLink = (name: string): Phrase => compared(iifname.load(register(0)), "unequal", linkBytes(name));

/** A link's name as the kernel compares it: 16 bytes, NUL to the end. */
function linkBytes(name: string): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes.set(new TextEncoder().encode(name));
  return bytes;
}

/** The packet belongs to a connection that was let through, or to one that such a connection announced. */
export const established: Phrase = compared(
  [
    { name: "ct", register: register(0), key: connectionKeys.state },
    masked(register(0), word(states.established | states.related)),
  ],
  "unequal",
  word(0),
);

const RTN_LOCAL = 2;

/** The destination is an address of this host. */
export const toThisHost: Phrase = compared(
  [{ name: "fib", flags: ofDestination, result: addressType, register: register(0) }],
  "equal",
  word(RTN_LOCAL),
);

/** A number of 4 bytes in this machine's order. */
function word(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

const markField = ofMeta("mark", 4);

function marking(mask: number, xor: number): Phrase {
  const change = masked(register(0), word(mask >>> 0), word(xor));
  const store: Expression = { name: "meta", key: metaKeys.mark, from: register(0) };
  return { expressions: [...markField.load(register(0)), change, store] };
}

/** Sets bits of the packet's mark. */
export const setMark = (bits: number): Phrase => marking(~bits, bits);
/** Clears bits of the packet's mark. */
export const clearMark = (bits: number): Phrase => marking(~bits, 0);
/** Any of the bits is in the packet's mark. */
export const hasMark = (bits: number): Phrase =>
  compared([...markField.load(register(0)), masked(register(0), word(bits))], "unequal", word(0));

/** None of the bits is in the packet's mark. */
export const lacksMark = (bits: number): Phrase =>
  compared([...markField.load(register(0)), masked(register(0), word(bits))], "equal", word(0));

/** Connections go to the address and port that a map has for the fields; the rule ends where it has none. */
export function dnatTo(ip: 4 | 6, fields: Field | readonly Field[], map: { name: string }): Phrase {
  const { expressions } = loaded(fields);
  expressions.push(
    { name: "lookup", set: map.name, register: register(0), into: register(0) },
    {
      name: "nat",
      type: destination,
      family: ip === 4 ? families.ip : families.ip6,
      address: register(0),
      port: register(sizes[ip] / 4),
    },
  );
  return { expressions, ip };
}

function ending(verdict: Verdict): Phrase {
  return { expressions: [{ name: "immediate", register: verdictRegister, verdict }] };
}

export const accept: Phrase = ending({ code: "accept" });
export const drop: Phrase = ending({ code: "drop" });
export const leave: Phrase = ending({ code: "return" });
export const jump = (chain: { name: string }): Phrase => ending({ code: "jump", chain: chain.name });

/** Connections leave with the address of the link that they leave by. */
export const masquerade: Phrase = { expressions: [{ name: "masq" }] };

/** Counts packets and bytes that got here. */
export const count: Phrase = { expressions: [{ name: "counter" }] };

/**
 * The expressions of a rule that says these phrases. IP fields, in tables of family inet, are only looked at in packets
 * that have them.
 */
export function say(...phrases: Phrase[]): Expression[] {
  const expressions: Expression[] = [];
  let known: 4 | 6 | undefined;
  for (const { ip, expressions: some } of phrases) {
    if (ip && ip !== known) {
      const protocol = Uint8Array.of(ip === 4 ? families.ip : families.ip6);
      expressions.push(
        { name: "meta", register: register(0), key: metaKeys.nfproto },
        { name: "cmp", register: register(0), op: comparisons.equal, value: protocol },
      );
      known = ip;
    }
    expressions.push(...some);
  }
  return expressions;
}
