// Set elements: NFT_MSG_NEWSETELEM, NFT_MSG_GETSETELEM, NFT_MSG_DELSETELEM. linux/netfilter/nf_tables.h NFTA_SET_ELEM_*.
import { attrs, be32, list, text } from "../netlink/attr.ts";
import { type Answer, type Message, NLM_F_CREATE, NLM_F_EXCL } from "../netlink/socket.ts";
import { mapped } from "../sys/list.ts";
import { value } from "./data.ts";
import { expression } from "./expression.ts";
import { attributesOf, message } from "./message.ts";
import type { SetSpec } from "./set.ts";
import { elementUserdata } from "./userdata.ts";

const NFT_MSG_NEWSETELEM = 12;
const NFT_MSG_GETSETELEM = 13;
const NFT_MSG_DELSETELEM = 14;
const NFTA_LIST_ELEM = 1;
const NFT_SET_ELEM_INTERVAL_END = 1;

const element = attrs({
  key: [1, value],
  data: [2, value],
  flags: [3, be32],
  userdata: [6, elementUserdata],
  each: [7, expression],
});
const fields = attrs({ table: [1, text], set: [2, text], elements: [3, list(NFTA_LIST_ELEM, element)] });

/** One element: its key as bytes; `data` of a map. `end`: the first key after an interval. */
export interface Element {
  key: Uint8Array;
  data?: Uint8Array;
  comment?: string;
  /** Told of elements of a set that counts: how many packets found it. */
  packets?: number;
  end?: boolean;
}

type Named = Pick<SetSpec, "table" | "name">;

function change(
  verb: string,
  kind: number,
  flags: number,
  { table, name }: Named,
  elements?: readonly Element[],
): Message {
  const which = elements?.length === 1 && elements[0]!.comment !== undefined ? ` "${elements[0]!.comment}"` : "s";
  return message(
    `${verb} element${which} of set ${table.family} ${table.name} ${name}`,
    kind,
    flags,
    table.family,
    (to) =>
      fields.write(to, {
        table: table.name,
        set: name,
        elements:
          elements &&
          mapped(elements, ({ key, data, comment, end }) => ({
            key,
            data: kind === NFT_MSG_NEWSETELEM ? data : undefined,
            flags: end ? NFT_SET_ELEM_INTERVAL_END : undefined,
            userdata: kind === NFT_MSG_NEWSETELEM && comment !== undefined ? { comment } : undefined,
          })),
      }),
  );
}

/** Adds elements. EEXIST if one of those keys is there: without that, the old comment would stay silently. */
export function createElements(set: Named, elements: readonly Element[]): Message {
  return change("add", NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, set, elements);
}

/** Removes elements by key. ENOENT if one is missing. */
export function deleteElements(set: Named, elements: readonly Element[]): Message {
  return change("delete", NFT_MSG_DELSETELEM, 0, set, elements);
}

/** Asks for one element. ENOENT if it, its set or its table is missing. */
export function getElement(set: Named, key: Uint8Array): Message {
  return change("find", NFT_MSG_GETSETELEM, 0, set, [{ key }]);
}

/** Asks for the element at each of these places, one by one: the answers come in that order. */
export function getElements(places: readonly { set: Named; key: Uint8Array }[]): Message[] {
  return mapped(places, ({ set, key }) => getElement(set, key));
}

/** Asks for all elements of a set. ENOENT if there is no such set. */
export function dumpElements(set: Named): Message {
  return change("list", NFT_MSG_GETSETELEM, 0, set);
}

/** Reads an NFT_MSG_NEWSETELEM, which carries several elements. */
export function readElements(answer: Answer): Element[] {
  const { elements = [] } = fields.read(attributesOf(answer));
  return mapped(elements, ({ key = new Uint8Array(0), data, flags = 0, userdata, each }) => {
    const read: Element = { key };
    if (data) read.data = data;
    if (userdata?.comment !== undefined) read.comment = userdata.comment;
    if (each?.name === "counter" && "packets" in each) read.packets = Number(each.packets);
    if (flags & NFT_SET_ELEM_INTERVAL_END) read.end = true;
    return read;
  });
}
