// masq: the packet's connection gets the source address of the link that it leaves by. linux/netfilter/nf_tables.h NFTA_MASQ_*.
import { attrs, be32 } from "../../netlink/attr.ts";

export const masq = attrs({ flags: [1, be32] });
