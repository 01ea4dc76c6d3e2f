// Chains: NFT_MSG_NEWCHAIN, NFT_MSG_GETCHAIN, NFT_MSG_DELCHAIN. linux/netfilter/nf_tables.h NFTA_CHAIN_*, NFTA_HOOK_*.
import { attrs, be32, type Type, text } from "../netlink/attr.ts";
import { type Answer, type Message, NLM_F_CREATE } from "../netlink/socket.ts";
import { answerFamily, attributesOf, message } from "./message.ts";
import type { Table } from "./table.ts";

const NFT_MSG_NEWCHAIN = 3;
const NFT_MSG_GETCHAIN = 4;
const NFT_MSG_DELCHAIN = 5;

/** NF_INET_* and NF_BR_*: the same numbers in the families ip, ip6, inet and bridge. */
export const hooks = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 } as const;
/** NF_DROP, NF_ACCEPT. */
const policies = { drop: 0, accept: 1 } as const;

/** A priority is signed on the wire. */
const priority: Type<number> = {
  write: (to, value) => be32.write(to, value >>> 0),
  read: (from) => be32.read(from) | 0,
};
const hook = attrs({ number: [1, be32], priority: [2, priority] });
const fields = attrs({ table: [1, text], name: [3, text], hook: [4, hook], policy: [5, be32], type: [7, text] });

/** Where packets enter a base chain. */
export interface Base {
  type: "filter" | "nat" | "route";
  hook: keyof typeof hooks;
  priority: number;
  policy: keyof typeof policies;
}

/** A chain; without `base` only rules lead to it. */
export interface Chain {
  table: Table;
  name: string;
  base?: Base;
}

const nameOf = ({ table, name }: Chain) => `chain ${table.family} ${table.name} ${name}`;

/** Makes a chain. One that is there stays; EEXIST if its base differs. */
export function addChain(chain: Chain): Message {
  const { table, name, base } = chain;
  return message(`add ${nameOf(chain)}`, NFT_MSG_NEWCHAIN, NLM_F_CREATE, table.family, (to) =>
    fields.write(to, {
      table: table.name,
      name,
      hook: base && { number: hooks[base.hook], priority: base.priority },
      policy: base && policies[base.policy],
      type: base?.type,
    }),
  );
}

/** Removes a chain with its rules. EBUSY while rules elsewhere lead to it. */
export function deleteChain(chain: Chain): Message {
  return message(`delete ${nameOf(chain)}`, NFT_MSG_DELCHAIN, 0, chain.table.family, (to) =>
    fields.write(to, { table: chain.table.name, name: chain.name }),
  );
}

/** Asks for one chain. ENOENT if it or its table is missing. */
export function getChain(chain: Chain): Message {
  return message(`find ${nameOf(chain)}`, NFT_MSG_GETCHAIN, 0, chain.table.family, (to) =>
    fields.write(to, { table: chain.table.name, name: chain.name }),
  );
}

/** Asks for the chains of the table's family: no kernel filters them by table. */
export function dumpChains(table: Table): Message {
  return message(`list chains of table ${table.family} ${table.name}`, NFT_MSG_GETCHAIN, 0, table.family, (to) =>
    fields.write(to, { table: table.name }),
  );
}

/** Reads an NFT_MSG_NEWCHAIN. */
export function readChain(answer: Answer): Chain {
  const { table = "", name = "", hook, policy, type } = fields.read(attributesOf(answer));
  const chain: Chain = { table: { family: answerFamily(answer) ?? "inet", name: table }, name };
  if (hook) {
    chain.base = {
      type: type as Base["type"],
      hook: (Object.keys(hooks) as Base["hook"][]).find((name) => hooks[name] === hook.number)!,
      priority: hook.priority ?? 0,
      policy: policy === policies.drop ? "drop" : "accept",
    };
  }
  return chain;
}
