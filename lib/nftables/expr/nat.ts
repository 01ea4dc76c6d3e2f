// nat: the packet's connection gets the address and port that registers hold. linux/netfilter/nf_tables.h NFTA_NAT_*.
import { attrs, be32 } from "../../netlink/attr.ts";

/** NFT_NAT_DNAT: of the destination. */
export const destination = 1;

/** The registers of the highest address and port are those of the lowest where they are left out. */
export const nat = attrs({
  type: [1, be32],
  family: [2, be32],
  address: [3, be32],
  addressMax: [4, be32],
  port: [5, be32],
  portMax: [6, be32],
  flags: [7, be32],
});
