// immediate: puts a verdict into the verdict register, which ends the rule. linux/netfilter/nf_tables.h NFTA_IMMEDIATE_*.
import { attrs, be32 } from "../../netlink/attr.ts";
import { verdict } from "../data.ts";

/** NFT_REG_VERDICT. */
export const verdictRegister = 0;

export const immediate = attrs({ register: [1, be32], verdict: [2, verdict] });
