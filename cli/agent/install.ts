// Puts the plugins on the host: the image under a draft's name, on the disk, then renamed, so that a running one is never half
// replaced; then a link for each plugin, made the same way. Relative symbolic links where the file system has no hard ones.
import { copyFile, link, mkdir, open, rename, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { suite } from "../../build/plugins.ts";
import { isSameFile } from "../../lib/sys/file.ts";
import { readInLargePieces } from "../../lib/sys/page-cache.ts";

const image = "tenon-cni";
const piece = 1 << 20;

/** Installs the image `from` and its links into a folder; false if it is there already. */
export async function installPlugins(from: string, to: string): Promise<boolean> {
  await mkdir(to, { recursive: true });
  const draft = join(to, `.${image}.draft`);
  const isThere = await isSameContent(from, join(to, image));
  if (!isThere) {
    try {
      await copyFile(from, draft);
      await using file = await open(draft, "r+");
      await file.chmod(0o755);
      await file.sync();
      await rename(draft, join(to, image));
    } catch (error) {
      await rm(draft, { force: true });
      throw new Error(`Cannot install the plugins in "${to}": ${(error as Error).message}`, { cause: error });
    }
  }
  let made = false;
  for (const name of Object.keys(suite)) {
    if (isSameFile(join(to, name), join(to, image))) continue;
    const step = join(to, `.${name}.draft`);
    await rm(step, { force: true });
    await link(join(to, image), step).catch(() => symlink(image, step));
    await rename(step, join(to, name));
    await rm(step, { force: true }); // onto another link of the same file, renaming does nothing
    made = true;
  }
  return !isThere || made;
}

/** Has plugins start as fast as they can: after a boot or a copy their image lies in memory in small pieces. */
export function settlePlugins(folders: readonly string[]): void {
  for (const folder of folders) {
    try {
      readInLargePieces(join(folder, image));
    } catch {} // there is none, or it is another suite's folder: nothing but time depends on it
  }
}

/** Whether both files have the same content; a piece of each is in memory at a time. */
async function isSameContent(one: string, other: string): Promise<boolean> {
  await using a = await open(one);
  await using b = await open(other).catch(() => undefined);
  if (!b || (await a.stat()).size !== (await b.stat()).size) return false;
  const pieces = [a, b].map((file) => ({ file, bytes: Buffer.alloc(piece) }));
  for (;;) {
    const [first, second] = await Promise.all(
      pieces.map(async ({ file, bytes }) => bytes.subarray(0, (await file.read(bytes, 0, piece)).bytesRead)),
    );
    if (!first!.equals(second!)) return false;
    if (first!.length === 0) return true;
  }
}
