// ct: loads what connection tracking knows of a packet's connection. linux/netfilter/nf_tables.h NFTA_CT_*, enum nft_ct_keys.
import { attrs, be32 } from "../../netlink/attr.ts";

/** NFT_CT_*. */
export const connectionKeys = { state: 0 } as const;

/** Bits of the state: NF_CT_STATE_BIT of linux/netfilter/nf_conntrack_common.h. */
export const states = { established: 2, related: 4 } as const;

export const ct = attrs({ register: [1, be32], key: [2, be32] });
