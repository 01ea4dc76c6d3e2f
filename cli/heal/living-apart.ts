// The addresses in use in this node's namespaces, found by a process of its own (`tenon gc --living` of this very program):
// who runs for months enters no pod.
import { fileURLToPath } from "node:url";
import { execa } from "execa";

/** The command line of `tenon`: this executable, or the sources by their interpreter. */
export function tenon(): [program: string, ...args: string[]] {
  const main = new URL("../main.ts", import.meta.url);
  // What is compiled in has a path that no file has.
  return main.pathname.startsWith("/$bunfs/") ? [process.execPath] : [process.execPath, fileURLToPath(main)];
}

/** As livingAddresses (lib/ipam/living.ts). Throws if one namespace cannot be asked, or nothing is heard. */
export async function livingApart(command: readonly string[] = tenon()): Promise<Set<bigint>> {
  const [program, ...args] = command;
  const { stdout, stderr, exitCode, shortMessage } = await execa(program!, [...args, "gc", "--living"], {
    reject: false,
    timeout: 60_000,
  });
  const lines = stdout.split("\n");
  // The loopback's at least is there; the last line says that it is the last.
  if (exitCode !== 0 || lines.pop() !== "all")
    throw new Error(`Cannot tell the addresses in use in pods: ${stderr || shortMessage || "the answer is cut short"}`);
  return new Set(lines.map(BigInt));
}
