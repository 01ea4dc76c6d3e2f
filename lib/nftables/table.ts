// Tables: NFT_MSG_NEWTABLE, NFT_MSG_GETTABLE, NFT_MSG_DELTABLE. linux/netfilter/nf_tables.h NFTA_TABLE_*.
import { attrs, be32, text } from "../netlink/attr.ts";
import { type Answer, type Message, NLM_F_CREATE } from "../netlink/socket.ts";
import { answerFamily, attributesOf, type Family, message } from "./message.ts";

const NFT_MSG_NEWTABLE = 0;
const NFT_MSG_GETTABLE = 1;
const NFT_MSG_DELTABLE = 2;

const fields = attrs({ name: [1, text], flags: [2, be32], chains: [3, be32] });

export interface Table {
  family: Family;
  name: string;
}

const nameOf = ({ family, name }: Table) => `table ${family} ${name}`;

/** Makes a table, or leaves the one there as it is. */
export function addTable(table: Table): Message {
  return message(`add ${nameOf(table)}`, NFT_MSG_NEWTABLE, NLM_F_CREATE, table.family, (to) =>
    fields.write(to, { name: table.name, flags: 0 }),
  );
}

/** Removes a table with everything in it. */
export function deleteTable(table: Table): Message {
  return message(`delete ${nameOf(table)}`, NFT_MSG_DELTABLE, 0, table.family, (to) =>
    fields.write(to, { name: table.name }),
  );
}

/** Asks for one table. */
export function getTable(table: Table): Message {
  return message(`find ${nameOf(table)}`, NFT_MSG_GETTABLE, 0, table.family, (to) =>
    fields.write(to, { name: table.name }),
  );
}

/** Reads an NFT_MSG_NEWTABLE; `chains` counts what the table holds of them. */
export function readTable(answer: Answer): Table & { chains: number } {
  const { name = "", chains = 0 } = fields.read(attributesOf(answer));
  return { family: answerFamily(answer) ?? "inet", name, chains };
}
