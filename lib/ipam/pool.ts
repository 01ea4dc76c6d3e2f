// Giving out the addresses of one range set.

import { writeAll } from "../sys/file.ts";
import { clock } from "../sys/libc.ts";
import { livingAddresses } from "./living.ts";
import { isUsable, type RangeSet, type Span, sizeOf, toText } from "./ranges.ts";
import { firstFree, spansAfter } from "./search.ts";
import { type Entry, readOwner, type Store } from "./store.ts";

/**
 * Gives `owner` the set's next address; undefined if all are taken. The one after the last is tried at once, and only
 * when that is taken is there a search; with `search` always.
 */
export function takeNext(
  store: Store,
  set: RangeSet,
  number: number,
  owner: string,
  search: boolean,
): bigint | undefined {
  const spans = spansAfter(set, store.last(number));
  const next = spans[0]?.[0];
  if (next === undefined) return undefined;
  const taken = !search && store.reserve(next, owner) ? next : takeFree(store, spans, owner);
  if (taken !== undefined) return taken;
  reclaim(store, (address) => isUsable(set, address));
  return takeFree(store, spans, owner);
}

/** Gives `owner` this address; whether it could be had. */
export function takeRequested(store: Store, owner: string, address: bigint): boolean {
  if (store.reserve(address, owner)) return true;
  reclaim(store, (other) => other === address);
  return store.reserve(address, owner);
}

/** Whether takeNext would find an address. */
export function hasFree(store: Store, set: RangeSet): boolean {
  const spans = spansAfter(set, undefined);
  if (BigInt(store.index.count) < sizeOf(set)) return true;
  if (spans.length === 0) return false;
  if (firstFree(spans, store.index) !== undefined) return true;
  let reclaimable = false;
  const isDead = deadIn(store, (address) => isUsable(set, address));
  store.rebuild((entry) => {
    reclaimable ||= isDead(entry);
    return false;
  });
  return reclaimable || firstFree(spans, store.index) !== undefined;
}

function takeFree(store: Store, spans: readonly Span[], owner: string): bigint | undefined {
  for (;;) {
    const free = firstFree(spans, store.index);
    if (free === undefined || store.reserve(free, owner)) return free;
    store.index.add(free); // there is something of that name that the index does not know
  }
}

/** Reads the reservations anew, without those of the pool that nobody can hold any more. */
function reclaim(store: Store, isInPool: (address: bigint) => boolean): void {
  const isDead = deadIn(store, isInPool);
  const reclaimed: bigint[] = [];
  store.rebuild((entry) => {
    const dead = isDead(entry);
    if (dead) reclaimed.push(entry.address);
    return dead;
  });
  if (reclaimed.length === 0) return;
  reclaimed.sort((a, b) => (a < b ? -1 : 1));
  const more = reclaimed.length > 50 ? ` and ${reclaimed.length - 50} more` : "";
  const addresses = reclaimed.slice(0, 50).map(toText).join(", ");
  say(`Reclaimed ${addresses}${more}: no owner, or none since this node was started`);
}

/**
 * Tells which reservations of the pool are dead: without a readable owner (a crash of the reference leaves empty files;
 * under the lock nobody is writing one), or made before the node was started. No network namespace survives that, and
 * the kubelet starts its pods anew under other ids. But a wall clock that was wrong until somebody set it makes young
 * reservations look old, so none is dead whose address is on any link of any namespace of this node.
 */
function deadIn(store: Store, isInPool: (address: bigint) => boolean): (entry: Entry) => boolean {
  const started = BigInt(clock(0)) - BigInt(clock(7));
  let living: Set<bigint> | "unknown" | undefined;
  const isLiving = (address: bigint) => {
    try {
      living ??= livingAddresses();
    } catch (error) {
      living = "unknown";
      say(`Cannot tell which addresses are in use, so none is taken back: ${(error as Error).message}`);
    }
    return living === "unknown" || living.has(address);
  };
  return (entry) => {
    if (entry.content === undefined || !isInPool(entry.address)) return false;
    if (!readOwner(entry.content)) return true;
    return store.madeAt(entry) < started && !isLiving(entry.address);
  };
}

function say(text: string): void {
  try {
    writeAll(2, new TextEncoder().encode(`${text}\n`));
  } catch {
    // stderr is closed: nobody wants to know.
  }
}
