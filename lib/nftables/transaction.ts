// Transactions: several changes of nftables that all take effect or none does.
// linux/netfilter/nfnetlink.h NFNL_MSG_BATCH_*; the generation makes them conditional on nothing having changed since.
import type { Connection, Message, NetlinkError, Reply } from "../netlink/socket.ts";
import { SystemError } from "../sys/libc.ts";
import { beginBatch, endBatch, getGeneration, readGeneration } from "./message.ts";

const ERESTART = 85;
const EPROTONOSUPPORT = 93;
/** How often a change that others outrun is planned anew. */
export const patience = 200;

/**
 * Makes the changes in order, all or none. Throws the refusal of the first change that the kernel refuses, which names
 * it. With a generation: refused with ERESTART if anything was changed since that was read.
 */
export function commit(connection: Connection, changes: readonly Message[], generation?: number): void {
  const refused = tryCommit(connection, changes, generation)[0];
  if (refused) throw refused;
}

/** Like commit, but returns every refusal: those of single changes, or the one of the whole. None: it is done. */
export function tryCommit(connection: Connection, changes: readonly Message[], generation?: number): NetlinkError[] {
  if (changes.length === 0) return [];
  const refused: NetlinkError[] = [];
  for (const { error } of connection.batch(beginBatch(generation), changes, endBatch())) if (error) refused.push(error);
  return refused;
}

/** True for the refusal of a transaction whose generation has passed. */
export function isOutdated(error: unknown): boolean {
  return error instanceof Error && (error as Partial<NetlinkError>).errno === ERESTART;
}

/**
 * Reads and then changes, with nobody else's change in between: `plan` gets the replies to `reads`, reads more if it needs
 * to, and returns the changes. It is asked again when another transaction was faster; no lock, as somebody always gets on.
 */
export function change(
  connection: Connection,
  plan: (replies: Reply[]) => readonly Message[],
  reads: readonly Message[] = [],
): void {
  for (let attempt = 1; ; attempt++) {
    const [first, ...replies] = connection.try(getGeneration(), ...reads);
    const generation = generationIn(first!);
    const refused = tryCommit(connection, plan(replies), generation)[0];
    if (!refused) return;
    if (!isOutdated(refused) || attempt === patience) throw refused;
  }
}

/** The number that a getGeneration found. */
export function generationIn({ error, answers }: Reply): number {
  // A kernel with netfilter's sockets, but without nf_tables.
  if (error?.code === "EINVAL") throw new SystemError("use nftables", EPROTONOSUPPORT);
  if (error) throw error;
  return readGeneration(answers[0]!);
}
