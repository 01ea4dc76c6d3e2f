// How an executable lies in the page cache decides a quarter of its start-up: a file that was just written lies there in
// small pieces, one that was read from disk in large ones, which the kernel maps many pages at a time.
import { readFile } from "node:fs/promises";
import { execa } from "execa";

/** Writes a file's last bytes to disk, has the kernel forget it and read it anew from end to end. */
export async function readAnew(file: string): Promise<void> {
  await execa("dd", [`of=${file}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"]);
  await readFile(file);
}
