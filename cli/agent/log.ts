// What the agent says: one line on stderr for each thing worth knowing. The journal adds the time.

export interface Log {
  say(text: string): void;
  /** Something is wrong: said when it begins, when it changes, and when it is over, not each time it is seen. */
  trouble(about: string, text: string | undefined): void;
}

/** A log that writes lines by `write`. */
export function makeLog(write: (line: string) => void = (line) => process.stderr.write(line)): Log {
  const known = new Map<string, string>();
  const say = (text: string) => write(`${text.replaceAll("\n", " ")}\n`);
  return {
    say,
    trouble(about, text) {
      if (known.get(about) === text) return;
      if (text === undefined) known.delete(about);
      else known.set(about, text);
      say(text === undefined ? `${about}: well again` : `${about}: ${text}`);
    },
  };
}
