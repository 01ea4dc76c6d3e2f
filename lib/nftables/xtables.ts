// Rules as iptables writes them into nftables, so that iptables-save goes on reading the tables that it shares with us: what
// its modules do are the kernel's expressions "match" and "target" (linux/netfilter/nf_tables_compat.h NFTA_MATCH_*,
// NFTA_TARGET_*), the rest is the kernel's own. Kept as bytes: no rule of ours has them elsewhere.
import { attrs, be32, bytes, text, Writer } from "../netlink/attr.ts";
import { formatIp } from "../netlink/inet.ts";
import type { Expression } from "./expression.ts";

const fields = attrs({ name: [1, text], revision: [2, be32], info: [3, bytes] });

/** What a module of iptables matches or does. */
export function module(kind: "match" | "target", name: string, revision: number, info: Uint8Array): Expression {
  const to = new Writer(64);
  fields.write(to, { name, revision, info });
  return { name: kind, unknown: to.done().slice() };
}

/** -m comment: struct xt_comment_info of linux/netfilter/xt_comment.h. */
export function matchComment(comment: string): Expression {
  const info = new Uint8Array(256);
  info.set(new TextEncoder().encode(comment));
  return module("match", "comment", 0, info);
}

/** -m conntrack --ctstate RELATED,ESTABLISHED: struct xt_conntrack_mtinfo3 of linux/netfilter/xt_conntrack.h. */
export function matchEstablished(): Expression {
  const info = new Uint8Array(168); // 164, and up to a multiple of 8
  const view = new DataView(info.buffer);
  view.setUint16(146, 1, true); // match_flags: XT_CONNTRACK_STATE
  view.setUint16(150, 6, true); // state_mask: established, related
  return module("match", "conntrack", 3, info);
}

/** The name of a module of iptables; undefined for anything else. */
export function moduleOf(expression: Expression): string | undefined {
  if (!("unknown" in expression) || (expression.name !== "match" && expression.name !== "target")) return undefined;
  return fields.read(expression.unknown).name;
}

/** What a module of this name was told. */
function infoOf(
  expression: Expression,
  ...names: string[]
): { name: string; info: DataView; revision: number } | undefined {
  if (!names.includes(moduleOf(expression) ?? "") || !("unknown" in expression)) return undefined;
  const { name = "", info = new Uint8Array(0), revision = 0 } = fields.read(expression.unknown);
  return { name, info: new DataView(info.buffer, info.byteOffset, info.length), revision };
}

/** The words of -m comment. */
export function commentOf(expression: Expression): string | undefined {
  const found = infoOf(expression, "comment");
  return found && text.read(new Uint8Array(found.info.buffer, found.info.byteOffset, found.info.byteLength));
}

/**
 * The destination ports of -m tcp, udp, sctp (struct xt_tcp, xt_udp, xt_sctp_info: a first and a last one) and multiport
 * (struct xt_multiport_v1). Undefined for whatever else, and for ranges.
 */
export function portsOf(expression: Expression): number[] | undefined {
  const found = infoOf(expression, "tcp", "udp", "sctp", "multiport");
  if (!found) return undefined;
  const { name, info } = found;
  if (name === "multiport") {
    const XT_MULTIPORT_DESTINATION = 1;
    if (info.byteLength < 48 || info.getUint8(0) !== XT_MULTIPORT_DESTINATION || info.getUint8(47) !== 0)
      return undefined;
    const ports: number[] = [];
    for (let at = 0; at < Math.min(info.getUint8(1), 15); at++) ports.push(info.getUint16(2 + 2 * at, true));
    return ports;
  }
  const at = name === "sctp" ? 0 : 4;
  if (info.byteLength < at + 4) return undefined;
  const port = info.getUint16(at, true);
  return port === info.getUint16(at + 2, true) ? [port] : undefined;
}

/**
 * Where -j DNAT leads: struct nf_nat_range2 (revision 2), nf_nat_range (1, IPv6 alone), nf_nat_ipv4_multi_range_compat (0)
 * of linux/netfilter/nf_nat.h. `length` is that of an address.
 */
export function destinationOf(expression: Expression, length: 4 | 16): { ip: string; port: number } | undefined {
  const found = infoOf(expression, "DNAT");
  if (!found) return undefined;
  const { info, revision } = found;
  const [address, port] = revision === 0 ? [8, 16] : [4, 36];
  if (info.byteLength < port + 2) return undefined;
  return {
    ip: formatIp(new Uint8Array(info.buffer, info.byteOffset + address, length)),
    port: info.getUint16(port, false),
  };
}
