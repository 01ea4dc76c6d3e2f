// bitwise: the bits of a register that a mask leaves, some of them turned. linux/netfilter/nf_tables.h NFTA_BITWISE_*.
import { attrs, be32 } from "../../netlink/attr.ts";
import { value } from "../data.ts";

/** NFT_BITWISE_MASK_XOR: (register & mask) ^ xor. */
export const maskXor = 0;

export const bitwise = attrs({
  from: [1, be32],
  register: [2, be32],
  op: [6, be32],
  length: [3, be32],
  mask: [4, value],
  xor: [5, value],
});
