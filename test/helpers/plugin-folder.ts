// Where the plugins under test are: TENON_BIN, or what `make build` made.
import { readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";

/** The folder, after checking that it has these plugins and, unless TENON_BIN is set, that all of it is one image: ours. */
export async function pluginFolder(...plugins: string[]): Promise<string> {
  const chosen = process.env.TENON_BIN;
  const folder = resolve(import.meta.dir, "../..", chosen ?? "build/bin");
  const there = await readdir(folder).catch(() => [] as string[]);
  const missing = plugins.filter((plugin) => !there.includes(plugin));
  if (missing.length)
    throw new Error(`Cannot find ${missing.join(", ")} in ${folder}: make build first, or set TENON_BIN`);
  if (chosen === undefined) {
    const image = await stat(join(folder, "tenon-cni"));
    for (const name of there) {
      const { ino } = await stat(join(folder, name));
      if (ino !== image.ino) throw new Error(`Cannot test ${folder}: ${name} is not a link to tenon-cni`);
    }
  }
  return folder;
}
