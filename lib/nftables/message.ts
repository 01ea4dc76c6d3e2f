// nf_tables messages: linux/netfilter/nfnetlink.h struct nfgenmsg, linux/netfilter/nf_tables.h enum nf_tables_msg_types.
import { attrs, be32, type Writer } from "../netlink/attr.ts";
import type { Answer, Message } from "../netlink/socket.ts";

const NFNL_SUBSYS_NFTABLES = 10;
const NFNL_MSG_BATCH_BEGIN = 16;
const NFNL_MSG_BATCH_END = 17;
const NFT_MSG_GETGEN = 16;
/** struct nfgenmsg, in front of every message's attributes. */
const HEADER = 4;

/** NFPROTO_*. */
export const families = { inet: 1, ip: 2, arp: 3, netdev: 5, bridge: 7, ip6: 10 } as const;
export type Family = keyof typeof families;

/** A message about an object of one family. `kind` is the NFT_MSG_* number. */
export function message(
  label: string,
  kind: number,
  flags: number,
  family: Family,
  write: (to: Writer) => void,
): Message {
  return {
    label,
    type: (NFNL_SUBSYS_NFTABLES << 8) | kind,
    flags,
    write(to) {
      to.u8(families[family]);
      to.skip(3); // version 0, resource 0
      write(to);
    },
  };
}

/** The attributes of an answer. */
export function attributesOf({ payload }: Pick<Answer, "payload">): Uint8Array {
  if (payload.length < HEADER) throw new RangeError(`Cannot read an nf_tables message of ${payload.length} bytes`);
  return payload.subarray(HEADER);
}

/** The family of the object that an answer tells of. */
export function answerFamily({ payload }: Pick<Answer, "payload">): Family | undefined {
  return (Object.keys(families) as Family[]).find((name) => families[name] === payload[0]);
}

const batch = attrs({ generation: [1, be32] });
const generation = attrs({ id: [1, be32] });

function boundary(label: string, type: number, write: (to: Writer) => void = () => {}): Message {
  return {
    label,
    type,
    flags: 0,
    write(to) {
      to.skip(3);
      to.u8(NFNL_SUBSYS_NFTABLES); // the resource, in network order
      write(to);
    },
  };
}

/** Opens a transaction; with a generation, one that the kernel refuses (ERESTART) if anything has changed since. */
export function beginBatch(id?: number): Message {
  return boundary("change nftables", NFNL_MSG_BATCH_BEGIN, (to) => batch.write(to, { generation: id }));
}

export function endBatch(): Message {
  return boundary("end a change of nftables", NFNL_MSG_BATCH_END);
}

/** Asks for the number that every transaction of this network namespace raises. */
export function getGeneration(): Message {
  return message("read the nftables generation", NFT_MSG_GETGEN, 0, "inet", () => {});
}

export function readGeneration(answer: Pick<Answer, "payload">): number {
  return generation.read(attributesOf(answer)).id ?? 0;
}
