// When something takes away again and again what is brought back: then repairs come at longer and longer intervals, and that
// is said once. Times are milliseconds of any clock that does not go back.

/** So many repairs of one thing within so long are nothing to wonder at. */
const free = 10;
const within = 10_000;
/** How long a thing is left alone at first, and at most. */
export const firstRest = 1000;
const longest = 60_000;

interface Fight {
  /** When it was repaired last, the newest at the end. */
  times: number[];
  /** How long it is left alone, and until when. */
  rest: number;
  until: number;
}

export class Fights {
  readonly #fights = new Map<string, Fight>();

  /** Notes that `key` was repaired, or could not be: then it rests at once. The rest that begins now, 0 for none. */
  note(key: string, now: number, failed = false): number {
    const fight = this.#fights.get(key) ?? { times: [], rest: 0, until: 0 };
    // Quiet for longer than it was left alone: it is over.
    if (now - fight.until > Math.max(within, 2 * fight.rest)) fight.rest = 0;
    fight.times = [...fight.times.filter((time) => now - time < within), now].slice(-free - 1);
    if (failed || fight.rest > 0 || fight.times.length > free) {
      fight.rest = Math.min(fight.rest === 0 ? firstRest : fight.rest * 2, longest);
      fight.until = now + fight.rest;
    }
    this.#fights.set(key, fight);
    return fight.until > now ? fight.rest : 0;
  }

  /** Whether `key` is to be left alone now. */
  isResting(key: string, now: number): boolean {
    return (this.#fights.get(key)?.until ?? 0) > now;
  }

  /** How long until the first of those that rest may be looked at again; undefined if none does. */
  next(now: number): number | undefined {
    let next: number | undefined;
    for (const [key, { until, times }] of this.#fights) {
      if (until > now) next = Math.min(next ?? Number.POSITIVE_INFINITY, until - now);
      else if (now - until > 2 * longest && now - (times.at(-1) ?? 0) > within) this.#fights.delete(key);
    }
    return next;
  }
}
