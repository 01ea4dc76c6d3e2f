// The network namespaces of this node: found by bind mounts and by processes. namespaces(7), proc(5).
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";

/** One path for each namespace but our own; those with a name come first. */
export function listNamespaces(): string[] {
  const own = identity("/proc/self/ns/net");
  const found = new Map<string, string>();
  for (const path of [...mounted(), ...ofProcesses()]) {
    const id = identity(path);
    if (id !== undefined && id !== own && !found.has(id)) found.set(id, path);
  }
  return [...found.values()];
}

/** Tells namespaces apart; undefined for what is gone. */
export function identity(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

function mounted(): string[] {
  // Fields: id, parent, device, root, mount point, options, optional ones, "-", type, source, options.
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .flatMap((line) => {
      const [, , , root, point] = line.split(" ");
      if (!root?.startsWith("net:[") || !line.includes(" - nsfs ")) return [];
      return [point!.replace(/\\([0-7]{3})/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 8)))];
    });
}

function ofProcesses(): string[] {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    const path = `/proc/${pid}/ns/net`;
    try {
      readlinkSync(path);
      return [path];
    } catch {
      return []; // it ended, or is not for us to look at
    }
  });
}
