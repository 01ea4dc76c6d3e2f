// tenon lint: what is wrong with network configurations, before a pod finds out.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { suite } from "../../build/plugins.ts";
import { versions } from "../../lib/cni/result.ts";
import { command, json, printJson, UsageError } from "../command.ts";
import { readDocument } from "../lint/document.ts";
import type { Finding } from "../lint/finding.ts";
import { fuse } from "../lint/fuse.ts";
import { type File, lint as findIn } from "../lint/lint.ts";

/** What runtimes read, in their order. */
async function listed(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error) => {
    throw new UsageError(`Cannot read folder "${folder}": ${error.message}`);
  });
  return names
    .filter((name) => /\.(conf|conflist|json)$/.test(name))
    .sort()
    .map((name) => join(folder, name));
}

async function read(name: string): Promise<File> {
  try {
    return { name, text: await readFile(name === "-" ? "/dev/stdin" : name, "utf8") };
  } catch (error) {
    throw new UsageError(`Cannot read "${name}": ${(error as Error).message}`);
  }
}

function print(findings: readonly Finding[], count: number): void {
  let file = "";
  for (const { file: of, path, severity, rule, message, hint } of findings) {
    if (of !== file) process.stdout.write(`${file === "" ? "" : "\n"}${of}\n`);
    file = of;
    process.stdout.write(`  ${severity.padEnd(7)}  ${path || "."}  [${rule}]\n           ${message}\n`);
    if (hint) process.stdout.write(`           ${hint}\n`);
  }
  const number = (severity: string, word: string) => {
    const found = findings.filter((finding) => finding.severity === severity).length;
    return found === 0 ? [] : [`${found} ${word}${found === 1 ? "" : "s"}`];
  };
  const parts = [...number("error", "error"), ...number("warning", "warning"), ...number("note", "note")];
  const files = `${count} file${count === 1 ? "" : "s"}`;
  process.stdout.write(`${findings.length > 0 ? "\n" : ""}${files}: ${parts.join(", ") || "nothing to say"}\n`);
}

function printFused(files: readonly File[]): number {
  const [file, ...more] = files;
  if (!file || more.length > 0) throw new UsageError("Cannot fuse: name one file");
  const wrong: string[] = [];
  const document = readDocument(file.name, file.text, (severity, _, path, message) => {
    if (severity === "error") wrong.push(`Cannot fuse ${path || file.name}: ${message}`);
  });
  if (!document || wrong.length > 0) throw new Error(wrong.join("\n"));
  printJson(fuse(document, suite));
  return 0;
}

export const lint = command({
  name: "lint",
  summary: "what is wrong with network configurations, alone and beside each other",
  takes: "[FILE...]",
  operands: "file",
  options: {
    dir: { value: "FOLDER", word: "directory", several: true, about: "every configuration in a folder too" },
    speaks: { value: "VERSION", about: "newest version of the specification that the runtime speaks" },
    fuse: { about: "print the list with our plugins as one `chain`, which runs them in one process" },
    ...json,
  },
  more: `Exit status: 0, nothing or notes alone; 1, errors or warnings; 2, a wrong call. FILE may be "-".
Without files: those of /etc/cni/net.d.`,
  async run({ dir = [], speaks, fuse, json }, operands) {
    if (speaks !== undefined && !(versions as readonly string[]).includes(speaks))
      throw new UsageError(`Cannot use --speaks "${speaks}": must be one of ${versions.join(", ")}`);
    const folders = operands.length === 0 && dir.length === 0 ? ["/etc/cni/net.d"] : dir;
    const names = [...operands, ...(await Promise.all(folders.map(listed))).flat()];
    const files = await Promise.all([...new Set(names)].map(read));
    if (fuse) return printFused(files);
    const findings = findIn(files, suite, speaks);
    if (json) printJson(findings);
    else print(findings, files.length);
    return findings.some(({ severity }) => severity !== "note") ? 1 : 0;
  },
});
