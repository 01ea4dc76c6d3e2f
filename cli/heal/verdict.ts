// Which attachments are dead: the decision alone, without a look at anything. Everything here errs on the side of life.

/** An attachment that left something, and what speaks for its being alive, in words. */
export interface Suspect {
  label: string;
  alive?: string;
}

/** Since when nothing has spoken for an attachment, by label: milliseconds of a clock that runs while the machine sleeps. */
export type Memory = Readonly<Record<string, number>>;

export interface Verdict {
  /** To be removed now. */
  dead: string[];
  /** Dead by all signs, but left: seen for too short a time, or too many at once. */
  waiting: string[];
  memory: Memory;
  /** Why nothing may be removed, whatever is dead. */
  refusals: string[];
}

/** How long nothing must have spoken for an attachment, in two looks at least. */
export const patience = 15 * 60_000;
/** More than this many at once, and this part of all, are no accident: somebody should look. */
export const many = { least: 10, share: 0.2 };

/** `problems`: what could not be read, or was empty. Then nobody is dead, and the time begins anew. */
export function decide(
  suspects: readonly Suspect[],
  memory: Memory,
  now: number,
  problems: readonly string[],
): Verdict {
  if (problems.length > 0) return { dead: [], waiting: [], memory: {}, refusals: [...problems] };
  const silent = suspects.filter(({ alive }) => alive === undefined).map(({ label }) => label);
  const since: Record<string, number> = {};
  for (const label of silent) {
    const before = Object.hasOwn(memory, label) ? memory[label]! : now;
    // A clock that went back tells nothing.
    since[label] = Math.min(before, now);
  }
  const dead = silent.filter((label) => now - since[label]! >= patience);
  const limit = Math.max(many.least, many.share * suspects.length);
  if (dead.length <= limit) {
    return { dead, waiting: silent.filter((label) => !dead.includes(label)), memory: since, refusals: [] };
  }
  const refusals = [`${dead.length} of ${suspects.length} attachments seem dead: too many at once to be true`];
  return { dead: [], waiting: silent, memory: since, refusals };
}
