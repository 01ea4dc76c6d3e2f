// lookup: goes on with the rule only if a register is (or is not) in a set; of a map it also loads what belongs to the key.
// linux/netfilter/nf_tables.h NFTA_LOOKUP_*.
import { attrs, be32, text } from "../../netlink/attr.ts";

/** NFT_LOOKUP_F_INV: not in the set. */
export const inverted = 1;

/** `into` is where a map's data goes. */
export const lookup = attrs({ set: [1, text], register: [2, be32], into: [3, be32], flags: [5, be32] });
