// cmp: goes on with the rule only if a register compares so. linux/netfilter/nf_tables.h NFTA_CMP_*, enum nft_cmp_ops.
import { attrs, be32 } from "../../netlink/attr.ts";
import { value } from "../data.ts";

/** NFT_CMP_*. */
export const comparisons = { equal: 0, unequal: 1 } as const;

export const cmp = attrs({ register: [1, be32], op: [2, be32], value: [3, value] });
