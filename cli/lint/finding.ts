// What lint says of a configuration: where, how bad, what, and what to do about it.

export type Severity = "error" | "warning" | "note";

export interface Finding {
  file: string;
  /** Where in the file: "plugins[0].ipam.subnet"; empty for the whole. */
  path: string;
  severity: Severity;
  /** What kind of finding, for programs: "unknown-key". */
  rule: string;
  message: string;
  hint?: string;
}

/** Takes what a rule finds in one file. */
export type Report = (severity: Severity, rule: string, path: string, message: string, hint?: string) => void;

/** A key below a path. */
export function join(path: string, key: string): string {
  return path === "" ? key : key.startsWith("[") ? path + key : `${path}.${key}`;
}
