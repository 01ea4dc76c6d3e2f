// Data in registers and set elements: a value or a verdict. linux/netfilter/nf_tables.h NFTA_DATA_*, NFTA_VERDICT_*.
import { attrs, be32, bytes, type Type, text } from "../netlink/attr.ts";

const data = attrs({ value: [1, bytes] });

/** NFTA_DATA_VALUE: bytes as they stand in the packet or register. */
export const value: Type<Uint8Array> = {
  nested: true,
  write: (to, bytes) => data.write(to, { value: bytes }),
  read: (from) => data.read(from).value ?? new Uint8Array(0),
};

/** NF_DROP, NF_ACCEPT and NFT_*, the latter negative. */
const codes = { drop: 0, accept: 1, continue: -1, break: -2, jump: -3, goto: -4, return: -5 } as const;

export interface Verdict {
  code: keyof typeof codes;
  /** Where jump and goto lead. */
  chain?: string;
}

const code: Type<Verdict["code"]> = {
  write: (to, name) => be32.write(to, codes[name] >>> 0),
  read(from) {
    const number = be32.read(from) | 0;
    const name = (Object.keys(codes) as Verdict["code"][]).find((name) => codes[name] === number);
    if (!name) throw new RangeError(`Cannot read verdict ${number}: not one of nf_tables`);
    return name;
  },
};

/** What rules of others put into registers besides verdicts. */
export interface Constant {
  code?: undefined;
  chain?: undefined;
  value: Uint8Array;
}

const fields = attrs({ value: [1, bytes], verdict: [2, attrs({ code: [1, code], chain: [2, text] })] });

/** NFTA_DATA_VERDICT, or where a rule of others has it, NFTA_DATA_VALUE. */
export const verdict: Type<Verdict | Constant> = {
  nested: true,
  write: (to, verdict) => fields.write(to, "value" in verdict ? { value: verdict.value } : { verdict }),
  read(from) {
    const { value, verdict } = fields.read(from);
    if (value && !verdict) return { value };
    if (verdict?.code === undefined) throw new RangeError("Cannot read a verdict: it has no code");
    return verdict as Verdict;
  },
};
