// meta: loads a fact about a packet that is not in it. linux/netfilter/nf_tables.h NFTA_META_*, enum nft_meta_keys.
import { attrs, be32 } from "../../netlink/attr.ts";

/** NFT_META_*. */
export const metaKeys = { iifname: 6, oifname: 7, nfproto: 15 } as const;

export const meta = attrs({ register: [1, be32], key: [2, be32] });
