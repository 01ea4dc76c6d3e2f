// meta: loads a fact about a packet that is not in it, or sets one. linux/netfilter/nf_tables.h NFTA_META_*, enum nft_meta_keys.
import { attrs, be32 } from "../../netlink/attr.ts";

/** NFT_META_*. */
export const metaKeys = { mark: 3, iifname: 6, oifname: 7, nfproto: 15, l4proto: 16 } as const;

/** `register` is loaded; `from` is the register whose value is set. */
export const meta = attrs({ register: [1, be32], key: [2, be32], from: [3, be32] });
