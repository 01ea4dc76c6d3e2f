// What a command of `tenon` is, and how it speaks: tables for people, JSON for programs, one line on stderr for a mistake.
import { parseArgs } from "node:util";

/** What a word of the command line stands for: completion offers such words. */
export type Word = "file" | "directory" | "network" | "pod" | "command" | "shell";

/** One option, by its long name. */
export interface Option {
  /** What its value is called; without it the option is a switch. */
  value?: string;
  /** What its values are, for completion. */
  word?: Word;
  /** One letter. */
  short?: string;
  /** May be given several times. */
  several?: boolean;
  about: string;
}

export interface Command {
  /** One line for the list of commands. */
  summary: string;
  /** What `tenon NAME --help` prints. */
  usage: string;
  options?: Readonly<Record<string, Option>>;
  /** What its operands are, for completion. */
  operands?: Word;
  /** The exit status: 0 all is well, 1 something is wrong with what was looked at, 2 the call itself was wrong. */
  run(args: string[]): number | Promise<number>;
}

/** A call that cannot be served as given: exit status 2, the text on stderr. */
export class UsageError extends Error {}

export type Given<O> = {
  [N in keyof O]?: O[N] extends { several: true } ? string[] : O[N] extends { value: string } ? string : boolean;
};

/** A command whose usage, reading of arguments and completion come from one table. */
export function command<const O extends Readonly<Record<string, Option>>>(spec: {
  name: string;
  summary: string;
  /** How operands are called in the usage: "FILE..."; none are taken without it. */
  takes?: string;
  operands?: Word;
  options: O;
  /** What the usage says besides. */
  more?: string;
  run(given: Given<O>, operands: string[]): number | Promise<number>;
}): Command {
  const { name, summary, takes, operands, options, more, run } = spec;
  const names = Object.keys(options);
  const rows = names.map((option) => {
    const { value, short, about } = options[option]!;
    return [`  ${short ? `-${short}, ` : ""}--${option}${value ? ` ${value}` : ""}`, about];
  });
  const head = `Usage: tenon ${name}${names.length > 0 ? " [OPTION...]" : ""}${takes ? ` ${takes}` : ""}`;
  return {
    summary,
    usage: [
      head,
      ...(more ? [more.trim()] : []),
      ...(rows.length > 0 ? [table(["option", ""], rows).trim()] : []),
    ].join("\n\n"),
    options,
    operands,
    run: (args) => {
      const parsed = parseArgs({
        args,
        allowPositionals: takes !== undefined,
        options: Object.fromEntries(
          names.map((option) => {
            const { value, short, several } = options[option]!;
            return [option, { type: value ? "string" : "boolean", ...(short ? { short } : {}), multiple: !!several }];
          }),
        ) as any,
      });
      return run(parsed.values as Given<O>, parsed.positionals);
    },
  };
}

/** The option that every command which tells something has. */
export const json = { json: { about: "for programs: one JSON document" } } as const;

/** Where runtimes keep the results of ADD. */
export const caches = {
  cache: {
    value: "FOLDER",
    word: "directory",
    several: true,
    about: "of runtimes' results; default: /var/lib/cni/results",
  },
} as const;

/** Where host-local keeps its reservations. */
export const dataDirs = {
  "data-dir": {
    value: "FOLDER",
    word: "directory",
    several: true,
    about: "of host-local's reservations; default: /var/lib/cni/networks",
  },
} as const;

/** Prints a value as JSON. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

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

/** How long ago: "3 s", "12 min", "5 h", "4 d". */
export function ago(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}
