// counter: counts what gets so far in the rule. linux/netfilter/nf_tables.h NFTA_COUNTER_*.
import { attrs, be64 } from "../../netlink/attr.ts";

export const counter = attrs({ bytes: [1, be64], packets: [2, be64] });
