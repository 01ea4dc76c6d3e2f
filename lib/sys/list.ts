// What Array.prototype has, for where every ADD passes: the engine compiles its own of these from their source in each
// process, 50 us for the first of them and 20 for each further one; these come compiled, as all of the image does.

/** What `make` returns for each of the list. */
export function mapped<T, U>(list: readonly T[], make: (one: T, at: number) => U): U[] {
  const made: U[] = [];
  for (let at = 0; at < list.length; at++) made.push(make(list[at]!, at));
  return made;
}

/** Those of the list that pass. */
export function filtered<T>(list: readonly T[], passes: (one: T, at: number) => boolean): T[] {
  const kept: T[] = [];
  for (let at = 0; at < list.length; at++) if (passes(list[at]!, at)) kept.push(list[at]!);
  return kept;
}

/** The first of the list that passes. */
export function first<T>(list: readonly T[], passes: (one: T) => boolean): T | undefined {
  for (let at = 0; at < list.length; at++) if (passes(list[at]!)) return list[at];
  return undefined;
}

/** The list without what is in it already. */
export function unique<T>(list: readonly T[]): T[] {
  return filtered(list, (one, at) => list.indexOf(one) === at);
}
