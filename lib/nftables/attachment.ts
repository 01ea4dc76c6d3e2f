// Elements that belong to attachments: each one's comment is the label of its attachment (lib/cni/identity.ts), so that it
// is taken away by whom it belongs to and by nobody else.
import type { Answer, Connection, Message } from "../netlink/socket.ts";
import { isErrno } from "../sys/libc.ts";
import { deleteElements, dumpElements, type Element, getElement, readElements } from "./element.ts";
import { dumpSets, readSet, type SetSpec } from "./set.ts";
import type { Table } from "./table.ts";
import { change, isOutdated, patience, tryCommit } from "./transaction.ts";

export type NamedSet = Pick<SetSpec, "table" | "name">;
export interface Place {
  set: NamedSet;
  key: Uint8Array;
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
 * Makes `additions` in one transaction, which is all that is sent as a rule. Where the kernel misses something (ENOENT) or
 * has it already (EEXIST), they are made together with what `prepare` returns after a look at what is there.
 */
export function ensureElements(
  connection: Connection,
  additions: readonly Message[],
  prepare: () => readonly Message[],
): void {
  for (let attempt = 1; ; attempt++) {
    const refused = tryCommit(connection, additions);
    if (refused.length === 0) return;
    const other = refused.find((error) => !isErrno(error, "ENOENT", "EEXIST"));
    if (other) throw other;
    try {
      change(connection, () => [...prepare(), ...additions], { attempts: 1 });
      return;
    } catch (error) {
      // Whoever was faster has most likely prepared the same.
      if (!isOutdated(error) || attempt === patience) throw error;
    }
  }
}

/** Removes the elements at these places that bear the label, and no others. */
export function removeOwn(connection: Connection, label: string, places: readonly Place[]): void {
  change(
    connection,
    (replies) =>
      places.flatMap((place, at) =>
        elementOf(replies[at]!)?.comment === label ? deleteElements(place.set, [place]) : [],
      ),
    { reads: places.map(({ set, key }) => getElement(set, key)) },
  );
}

/** The element that a getElement found. */
export function elementOf({ error, answers }: { error?: Error; answers: Answer[] }): Element | undefined {
  if (error && !isErrno(error, "ENOENT")) throw error;
  return answers[0] && readElements(answers[0])[0];
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
  clear: (empty: NamedSet[]) => Message[] = () => [],
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
