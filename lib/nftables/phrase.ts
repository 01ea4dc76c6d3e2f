// What rules say, in words: fields of a packet, membership in sets, verdicts. Only this file and expr/ know registers.
// nft(8) says the same with the same words; `nft --debug=netlink` shows what it makes of them.

import type { Verdict } from "./data.ts";
import { comparisons } from "./expr/cmp.ts";
import { verdictRegister } from "./expr/immediate.ts";
import { inverted } from "./expr/lookup.ts";
import { metaKeys } from "./expr/meta.ts";
import { bases } from "./expr/payload.ts";
import type { Expression } from "./expression.ts";
import { families } from "./message.ts";

/** Something of a packet that a register can hold. `ip`: only packets of that version have it. */
export interface Field {
  size: number;
  ip?: 4 | 6;
  load(register: number): Expression;
}

/** A part of a rule. */
export interface Phrase {
  expressions: Expression[];
  ip?: 4 | 6;
}

function inHeader(base: keyof typeof bases, offset: number, size: number, ip?: 4 | 6): Field {
  const load = (register: number): Expression => ({
    name: "payload",
    register,
    base: bases[base],
    offset,
    length: size,
  });
  return { size, ip, load };
}

/** The source address of an IP packet. */
export const saddr = { 4: inHeader("network", 12, 4, 4), 6: inHeader("network", 8, 16, 6) } as const;
/** The destination address of an IP packet. */
export const daddr = { 4: inHeader("network", 16, 4, 4), 6: inHeader("network", 24, 16, 6) } as const;
/** The source of an Ethernet frame, in tables of family bridge. */
export const etherSaddr: Field = inHeader("link", 6, 6);
/** The name of the link that a packet came by. */
export const iifname: Field = { size: 16, load: (register) => ({ name: "meta", register, key: metaKeys.iifname }) };

// Registers are 4 bytes wide and numbered from 8 on (NFT_REG32_00); every fourth is also known by the old number of
// the 16 bytes that it begins (NFT_REG_1 to NFT_REG_4), and the kernel tells of it by that.
function register(slot: number): number {
  return slot % 4 === 0 ? 1 + slot / 4 : 8 + slot;
}

function member(fields: Field | readonly Field[], set: { name: string }, flags: number): Phrase {
  let slot = 0;
  const several = Array.isArray(fields) ? (fields as readonly Field[]) : [fields as Field];
  const expressions = several.map((field) => {
    const load = field.load(register(slot));
    slot += Math.ceil(field.size / 4);
    return load;
  });
  expressions.push({ name: "lookup", set: set.name, register: register(0), flags });
  return { expressions, ip: several.find(({ ip }) => ip)?.ip };
}

/** The field, or fields side by side, are an element of the set. */
export function inSet(fields: Field | readonly Field[], set: { name: string }): Phrase {
  return member(fields, set, 0); // said, not left out: a rule that is read must say it too
}

/** The field, or fields side by side, are no element of the set. */
export function notInSet(fields: Field | readonly Field[], set: { name: string }): Phrase {
  return member(fields, set, inverted);
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
