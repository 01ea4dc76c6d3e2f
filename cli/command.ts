// What a command of `tenon` is, and how it speaks: tables for people, JSON for programs, one line on stderr for a mistake.

export interface Command {
  /** One line for the list of commands. */
  summary: string;
  /** What `tenon NAME --help` prints. */
  usage: string;
  /** The exit status: 0 all is well, 1 something is wrong with what was looked at, 2 the call itself was wrong. */
  run(args: string[]): number | Promise<number>;
}

/** A call that cannot be served as given: exit status 2, the text on stderr. */
export class UsageError extends Error {}

/** Rows below their headings, in columns. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [headings, ...rows];
  const widths = headings.map((_, at) => Math.max(...all.map((row) => (row[at] ?? "").length)));
  return all
    .map(
      (row) =>
        `${row
          .map((cell, at) => cell.padEnd(widths[at] ?? 0))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}
