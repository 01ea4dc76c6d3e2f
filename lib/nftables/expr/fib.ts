// fib: what the routing tables say of an address of the packet. linux/netfilter/nf_tables.h NFTA_FIB_*.
import { attrs, be32 } from "../../netlink/attr.ts";

/** NFT_FIB_RESULT_ADDRTYPE: what kind of address it is, RTN_* of linux/rtnetlink.h, in this machine's byte order. */
export const addressType = 3;
/** NFTA_FIB_F_DADDR: of the destination. */
export const ofDestination = 2;

export const fib = attrs({ flags: [3, be32], result: [2, be32], register: [1, be32] });
