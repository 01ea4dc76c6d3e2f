// A table of nftables that nobody else can flush, with a chain of address translation whose one rule changes nothing. The
// kernel translates packets of living connections only while there is such a chain, and follows connections only while a
// rule asks for it: without, from a flushed ruleset until it is back, an answer to a masqueraded connection is taken for the
// host's own, whose TCP resets it. The table belongs to our socket and goes with it (linux/netfilter/nf_tables.h
// NFT_TABLE_F_OWNER, Linux 5.12).
import { attrs, be32, text } from "../../lib/netlink/attr.ts";
import { Connection, NLM_F_CREATE, openSocket } from "../../lib/netlink/socket.ts";
import { addChain } from "../../lib/nftables/chain.ts";
import { postrouting } from "../../lib/nftables/layout.ts";
import { message } from "../../lib/nftables/message.ts";
import { accept, established, say } from "../../lib/nftables/phrase.ts";
import { appendRule } from "../../lib/nftables/rule.ts";
import { tryCommit } from "../../lib/nftables/transaction.ts";

const NETLINK_NETFILTER = 12;
const NFT_MSG_NEWTABLE = 0;
const NFT_TABLE_F_OWNER = 2;

const table = { family: "inet", name: "tenon-agent" } as const;
const chain = { ...postrouting, table };
const fields = attrs({ name: [1, text], flags: [2, be32] });

export interface Anchor {
  /** Why there is none: an older kernel, or another agent that holds it. */
  refused?: string;
  close(): void;
}

/** Holds translation in place until closed. */
export function dropAnchor(): Anchor {
  const connection = new Connection(openSocket(NETLINK_NETFILTER));
  const [refused] = tryCommit(connection, [
    message("add table inet tenon-agent", NFT_MSG_NEWTABLE, NLM_F_CREATE, "inet", (to) =>
      fields.write(to, { name: table.name, flags: NFT_TABLE_F_OWNER }),
    ),
    addChain(chain),
    appendRule({ chain, expressions: say(established, accept), comment: "keeps connections translated" }),
  ]);
  return { refused: refused?.message, close: () => connection.close() };
}
