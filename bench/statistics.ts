// Medians, and how far a ratio of two medians can be trusted. Runs that failed are NaN and are left out with their partner.

/** A ratio of medians with its 95 % interval. */
export type Ratio = { value: number; low: number; high: number };

/** The middle value; NaN for an empty list. */
export function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values.filter((value) => !Number.isNaN(value))).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/**
 * median(ours) / median(theirs) of runs paired by round. The interval is a percentile bootstrap that redraws whole rounds, so
 * what slowed both sides of a round together (a busy neighbour) does not widen it. The seed is fixed: same input, same answer.
 */
export function ratio(ours: readonly number[], theirs: readonly number[], draws = 1000): Ratio {
  const pairs = ours.map((value, at) => [value, theirs[at]!] as const).filter((pair) => !pair.some(Number.isNaN));
  const of = (chosen: typeof pairs) =>
    median(chosen.map(([first]) => first)) / median(chosen.map(([, second]) => second));
  const next = random(0x7e101);
  const drawn = Array.from({ length: draws }, () => of(pairs.map(() => pairs[Math.floor(next() * pairs.length)]!)));
  const sorted = Float64Array.from(drawn).sort();
  const at = (share: number) => sorted[Math.min(draws - 1, Math.floor(share * draws))]!;
  return { value: of(pairs), low: at(0.025), high: at(0.975) };
}

/** Numbers from 0 to 1, the same for the same seed (xorshift32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
