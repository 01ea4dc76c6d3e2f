// payload: loads bytes of a packet's header into a register. linux/netfilter/nf_tables.h NFTA_PAYLOAD_*.
import { attrs, be32 } from "../../netlink/attr.ts";

/** NFT_PAYLOAD_*: the header that an offset counts from. */
export const bases = { link: 0, network: 1, transport: 2 } as const;

export const payload = attrs({ register: [1, be32], base: [2, be32], offset: [3, be32], length: [4, be32] });
