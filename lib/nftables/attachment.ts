// Elements that belong to attachments: each one's comment is the label of its attachment (lib/cni/identity.ts), so that it
// is taken away by whom it belongs to and by nobody else.
import { equalBytes } from "../netlink/inet.ts";
import type { Connection, Message, Reply } from "../netlink/socket.ts";
import { isErrno } from "../sys/libc.ts";
import { mapped } from "../sys/list.ts";
import { createElements, deleteElements, dumpElements, type Element, getElements, readElements } from "./element.ts";
import { getGeneration } from "./message.ts";
import { dumpSets, getSet, readSet, type SetSpec } from "./set.ts";
import type { Table } from "./table.ts";
import { change, generationIn, isOutdated, patience, tryCommit } from "./transaction.ts";

export type NamedSet = Pick<SetSpec, "table" | "name">;
export interface Place {
  set: NamedSet;
  key: Uint8Array;
  /** What a map has for the key. */
  data?: Uint8Array;
  /** Called with the label of another attachment that has this place: what it throws is the answer. */
  taken?(holder: string): void;
}

/** A set and what is in it. */
export interface Contents {
  set: NamedSet;
  elements: Element[];
}

/** Deletions in one message, whose list of elements may have 64 KiB, and in one transaction, which must fit the socket. */
const inMessage = 1024;
const inTransaction = 4096;

/**
 * Puts elements with this label at these places; those of other labels give way, unless `taken` of the place throws. As a
 * rule that is one look and one transaction of the elements alone. If a required set is missing, or only some places are free, what `prepare` returns
 * comes first, in the same transaction. Who repairs says `whole`: true, and it comes in any case, for what lacks more than
 * elements; false, and only if a set is missing.
 */
export function ensureElements(
  connection: Connection,
  label: string,
  places: readonly Place[],
  required: readonly NamedSet[],
  prepare: () => readonly Message[],
  whole?: boolean,
): void {
  const looks = [getGeneration(), ...mapped(required, getSet), ...getElements(places)];
  const additions = mapped(places, ({ set, key, data }) => createElements(set, [{ key, data, comment: label }]));
  for (let attempt = 1; ; attempt++) {
    const replies = connection.try(...looks);
    const generation = generationIn(replies[0]!);
    let ready = !whole;
    let own = 0;
    const taken: Message[] = [];
    for (let at = 0; at < required.length; at++) ready = isFound(replies[1 + at]!) && ready;
    for (let at = 0; at < places.length; at++) {
      const place = places[at]!;
      const element = elementOf(replies[1 + required.length + at]!);
      if (!element) continue;
      taken.push(deleteElements(place.set, [element]));
      if (element.comment !== label) place.taken?.(element.comment ?? "");
      else if (!place.data || (element.data && equalBytes(element.data, place.data))) own++;
    }
    if (ready && own === places.length) return;
    // A batch that fails half way waits for readers of the old state (8 ms and more), so it is not tried on the off-chance.
    const free = ready && taken.length === 0;
    const [refused] = free
      ? tryCommit(connection, additions)
      : tryCommit(connection, [...(ready && whole === false ? [] : prepare()), ...taken, ...additions], generation);
    if (!refused) return;
    const outrun = isOutdated(refused) || (free && isErrno(refused, "ENOENT", "EEXIST"));
    if (!outrun || attempt === patience) throw refused;
  }
}

/** Removes the elements at these places that bear the label, and no others. How many there were. */
export function removeOwn(connection: Connection, label: string, places: readonly Place[]): number {
  if (places.length === 0) return 0;
  let found = 0;
  const plan = (replies: Reply[]) => {
    const deletions: Message[] = [];
    for (let at = 0; at < places.length; at++)
      if (elementOf(replies[at]!)?.comment === label) deletions.push(deleteElements(places[at]!.set, [places[at]!]));
    found = deletions.length;
    return deletions;
  };
  change(connection, plan, getElements(places));
  return found;
}

function isFound({ error }: Reply): boolean {
  if (error && !isErrno(error, "ENOENT")) throw error;
  return !error;
}

/** Where elements bear the label. */
export function placesOf(contents: readonly Contents[], label: string): Place[] {
  return contents.flatMap(({ set, elements }) =>
    elements.flatMap(({ key, comment }) => (comment === label ? { set, key } : [])),
  );
}

/** The element that a getElement found. */
export function elementOf(reply: Reply): Element | undefined {
  return isFound(reply) ? readElements(reply.answers[0]!)[0] : undefined;
}

/** The sets of a table; none if there is no table. */
export function listSets(connection: Connection, table: Table): SetSpec[] {
  return listed(() => connection.dump(dumpSets(table)).map(readSet));
}

/** The elements of a set; none if there is no set. */
export function listElements(connection: Connection, set: NamedSet): Element[] {
  return listed(() => connection.dump(dumpElements(set)).flatMap(readElements));
}

function listed<T>(read: () => T[]): T[] {
  try {
    return read();
  } catch (error) {
    if (isErrno(error, "ENOENT")) return []; // gone with its table: nothing to list
    throw error;
  }
}

/**
 * Deletes the elements whose comment `isStale`, in as many transactions as it takes. Each one also has the changes that
 * `clear` returns, given the sets that it leaves empty.
 */
export function deleteWhere(
  connection: Connection,
  read: () => Contents[],
  isStale: (comment: string) => boolean,
  clear: (empty: NamedSet[]) => Message[],
): void {
  for (let more = true; more; ) {
    change(connection, () => {
      let room = inTransaction;
      more = false;
      const empty: NamedSet[] = [];
      const deletions = read().flatMap(({ set, elements }) => {
        const stale = elements.filter(({ comment }) => comment !== undefined && isStale(comment));
        const now = stale.slice(0, room);
        room -= now.length;
        more ||= now.length < stale.length;
        if (now.length === elements.length) empty.push(set);
        return deleteAll(set, now);
      });
      return empty.length ? [...deletions, ...clear(empty)] : deletions;
    });
  }
}

/** The deletion of any number of elements. */
export function deleteAll(set: NamedSet, elements: readonly Element[]): Message[] {
  const messages: Message[] = [];
  for (let at = 0; at < elements.length; at += inMessage)
    messages.push(deleteElements(set, elements.slice(at, at + inMessage)));
  return messages;
}
