// Sets and maps: NFT_MSG_NEWSET, NFT_MSG_GETSET, NFT_MSG_DELSET. linux/netfilter/nf_tables.h NFTA_SET_*, enum nft_set_flags.
// A set without a size is a resizable hash, with the interval flag a tree.
import { attrs, be32, text } from "../netlink/attr.ts";
import { type Answer, type Message, NLM_F_CREATE } from "../netlink/socket.ts";
import { expression } from "./expression.ts";
import { answerFamily, attributesOf, message } from "./message.ts";
import type { Table } from "./table.ts";
import { setUserdata } from "./userdata.ts";

const NFT_MSG_NEWSET = 9;
const NFT_MSG_GETSET = 10;
const NFT_MSG_DELSET = 11;
const NFT_SET_CONSTANT = 2;
const NFT_SET_INTERVAL = 4;
const NFT_SET_MAP = 8;

/** What keys and data are made of: the number that nft(8) shows it by (its datatype.h), its bytes, and their order. */
export const keys = {
  ipv4_addr: { type: 7, size: 4, order: 2 },
  ipv6_addr: { type: 8, size: 16, order: 2 },
  ether_addr: { type: 9, size: 6, order: 2 },
  inet_proto: { type: 12, size: 1, order: 2 },
  inet_service: { type: 13, size: 2, order: 2 },
  mark: { type: 19, size: 4, order: 1 },
  ifname: { type: 41, size: 16, order: 1 },
} as const;
export type Key = keyof typeof keys;

const fields = attrs({
  table: [1, text],
  name: [2, text],
  flags: [3, be32],
  keyType: [4, be32],
  keyLength: [5, be32],
  dataType: [6, be32],
  dataLength: [7, be32],
  id: [10, be32],
  userdata: [13, setUserdata],
  each: [17, expression],
});

/** A named set, with `data` a map; several keys make a concatenation. */
export interface SetSpec {
  table: Table;
  name: string;
  key: readonly Key[];
  data?: readonly Key[];
  /** Holds intervals, and is not changed once a rule uses it. */
  intervals?: boolean;
  /** Each element counts the packets that find it. */
  counted?: boolean;
  comment?: string;
}

const nameOf = ({ table, name }: Pick<SetSpec, "table" | "name">) => `set ${table.family} ${table.name} ${name}`;

/** Bytes of a key: each part fills whole registers of 4. */
export function keyLength(key: readonly Key[]): number {
  return key.length === 1 ? keys[key[0]!].size : key.reduce((length, part) => length + ((keys[part].size + 3) & ~3), 0);
}

/** The number of a concatenation: six bits for each part. */
function typeOf(key: readonly Key[]): number {
  return key.reduce((type, part) => (type << 6) | keys[part].type, 0);
}

function partsOf(type: number): Key[] {
  const key: Key[] = [];
  for (let rest = type; rest > 0; rest >>>= 6) {
    const part = (Object.keys(keys) as Key[]).find((name) => keys[name].type === (rest & 63));
    if (part) key.unshift(part);
  }
  return key;
}

function orderOf(key: readonly Key[]): number {
  return key.length === 1 ? keys[key[0]!].order : 0;
}

/** Makes a set, or leaves the one there as it is. */
export function addSet(set: SetSpec): Message {
  const { table, name, key, data, intervals, counted, comment } = set;
  return message(`add ${nameOf(set)}`, NFT_MSG_NEWSET, NLM_F_CREATE, table.family, (to) =>
    fields.write(to, {
      table: table.name,
      name,
      flags: (intervals ? NFT_SET_CONSTANT | NFT_SET_INTERVAL : 0) | (data ? NFT_SET_MAP : 0),
      keyType: typeOf(key),
      keyLength: keyLength(key),
      dataType: data && typeOf(data),
      dataLength: data && keyLength(data),
      id: 1, // ties messages of one batch together; ours go by name
      userdata: { keyOrder: orderOf(key), dataOrder: data && orderOf(data), comment },
      each: counted ? { name: "counter" } : undefined,
    }),
  );
}

/** Removes a set. EBUSY while a rule uses it. */
export function deleteSet(set: Pick<SetSpec, "table" | "name">): Message {
  return message(`delete ${nameOf(set)}`, NFT_MSG_DELSET, 0, set.table.family, (to) =>
    fields.write(to, { table: set.table.name, name: set.name }),
  );
}

/** Asks for one set. ENOENT if it or its table is missing. */
export function getSet(set: Pick<SetSpec, "table" | "name">): Message {
  return message(`find ${nameOf(set)}`, NFT_MSG_GETSET, 0, set.table.family, (to) =>
    fields.write(to, { table: set.table.name, name: set.name }),
  );
}

/** Asks for the sets of a table. ENOENT if there is no such table. */
export function dumpSets(table: Table): Message {
  return message(`list sets of table ${table.family} ${table.name}`, NFT_MSG_GETSET, 0, table.family, (to) =>
    fields.write(to, { table: table.name }),
  );
}

/** Reads an NFT_MSG_NEWSET. */
export function readSet(answer: Answer): SetSpec {
  const {
    table = "",
    name = "",
    flags = 0,
    keyType = 0,
    dataType = 0,
    userdata,
    each,
  } = fields.read(attributesOf(answer));
  const set: SetSpec = { table: { family: answerFamily(answer) ?? "inet", name: table }, name, key: partsOf(keyType) };
  if (flags & NFT_SET_MAP) set.data = partsOf(dataType);
  if (flags & NFT_SET_INTERVAL) set.intervals = true;
  if (each?.name === "counter") set.counted = true;
  if (userdata?.comment !== undefined) set.comment = userdata.comment;
  return set;
}
