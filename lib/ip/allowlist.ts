// Which settings an administrator lets configurations change: one expression a line, as Go's package regexp reads it
// (https://pkg.go.dev/regexp/syntax), found anywhere in the setting's name. Without the file everything goes.
import { badConfig } from "../cni/errors.ts";
import { readTextIfAny } from "../sys/file.ts";

// What Go reads otherwise than we would, or not at all: \A \z \Q \p \x{ and references back; [[:alpha:]]; all of (?
// but plain groups. Better refused than read as something else.
const foreign = /\\(?:[AzZCQEpPkxuc0-9])|\[\[?\^?:|\[[^\]]*\[:|\(\?(?!:)/;

/** Throws unless every name is allowed by the file at `path`. */
export function assertAllowed(names: readonly string[], path: string): void {
  const text = readTextIfAny(path);
  if (text === undefined) return;
  const lines = text.split("\n").map((line) => line.trim());
  const allowed = lines.filter((line) => line !== "").map((line) => expressionOf(line, path));
  for (const name of names) {
    if (!allowed.some((expression) => expression.test(name))) {
      throw badConfig("sysctl", name, `no line of ${path} allows it`);
    }
  }
}

function expressionOf(line: string, path: string): RegExp {
  const anyCase = line.startsWith("(?i)");
  const body = anyCase ? line.slice(4) : line;
  try {
    if (!foreign.test(body)) return new RegExp(body, anyCase ? "i" : "");
  } catch {
    // Said below: no language of expressions takes it.
  }
  throw badConfig(path, line, "must be a regular expression of plain kind");
}
