// Programs of the host, for the few things that no kernel interface does.
import { environment, runProgram } from "#ffi";
import { status } from "./file.ts";

/** PATH, and where system programs are though a runtime's PATH may not say so. */
function folders(): string[] {
  const given = (environment.PATH ?? "").split(":").filter((folder) => folder.startsWith("/"));
  return [...given, "/usr/sbin", "/sbin", "/usr/local/sbin"];
}

/** The path of the first of these programs that is installed. */
export function findProgram(...names: string[]): string | undefined {
  const all = folders();
  return names.flatMap((name) => all.map((folder) => `${folder}/${name}`)).find((path) => status(path));
}

/** Runs a program to its end, its environment nothing but PATH. Status -1 if a signal ended it. */
export function runFound(path: string, args: readonly string[], input = ""): { status: number; output: string } {
  return runProgram(path, { PATH: folders().join(":") }, new TextEncoder().encode(input), args);
}
