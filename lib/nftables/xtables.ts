// Rules as iptables writes them into nftables, so that iptables-save goes on reading the tables that it shares with us: what
// its modules do are the kernel's expressions "match" and "target" (linux/netfilter/nf_tables_compat.h NFTA_MATCH_*,
// NFTA_TARGET_*), the rest is the kernel's own. Kept as bytes: no rule of ours has them elsewhere.
import { attrs, be32, bytes, text, Writer } from "../netlink/attr.ts";
import type { Expression } from "./expression.ts";

const fields = attrs({ name: [1, text], revision: [2, be32], info: [3, bytes] });

function match(name: string, revision: number, info: Uint8Array): Expression {
  const to = new Writer(64);
  fields.write(to, { name, revision, info });
  return { name: "match", unknown: to.done().slice() };
}

/** -m comment: struct xt_comment_info of linux/netfilter/xt_comment.h. */
export function matchComment(comment: string): Expression {
  const info = new Uint8Array(256);
  info.set(new TextEncoder().encode(comment));
  return match("comment", 0, info);
}

/** -m conntrack --ctstate RELATED,ESTABLISHED: struct xt_conntrack_mtinfo3 of linux/netfilter/xt_conntrack.h. */
export function matchEstablished(): Expression {
  const info = new Uint8Array(168); // 164, and up to a multiple of 8
  const view = new DataView(info.buffer);
  view.setUint16(146, 1, true); // match_flags: XT_CONNTRACK_STATE
  view.setUint16(150, 6, true); // state_mask: established, related
  return match("conntrack", 3, info);
}

/** The name of a module of iptables; undefined for anything else. */
export function moduleOf(expression: Expression): string | undefined {
  if (!("unknown" in expression) || (expression.name !== "match" && expression.name !== "target")) return undefined;
  return fields.read(expression.unknown).name;
}
