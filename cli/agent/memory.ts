// What a node remembers of its place in a network, across restarts and reboots: one small file for each network.
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

export interface Memory {
  /** Tells this machine from another one with the same node name. */
  id: string;
  /** The node's subnets. */
  subnets: string[];
  /** The lease of its records. */
  lease?: string;
}

/** What is remembered; of a new identity where there is nothing, or nothing that can be read. */
export async function recall(file: string): Promise<Memory> {
  try {
    const { id, subnets, lease } = JSON.parse(await readFile(file, "utf8"));
    if (typeof id === "string" && Array.isArray(subnets)) return { id, subnets, lease };
  } catch {
    // Never written, or not to the end: the records themselves still say which subnets are this node's.
  }
  return { id: crypto.randomUUID(), subnets: [] };
}

/** Replaces what is remembered; on the disk when this returns. */
export async function remember(file: string, memory: Memory): Promise<void> {
  const draft = `${file}.draft`;
  try {
    await mkdir(dirname(file), { recursive: true });
    {
      await using handle = await open(draft, "w", 0o600);
      await handle.writeFile(`${JSON.stringify(memory)}\n`);
      await handle.sync();
    }
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true }).catch(() => {}); // there may be no folder to remove it from
    throw new Error(`Cannot write "${file}": ${(error as Error).message}`, { cause: error });
  }
}
