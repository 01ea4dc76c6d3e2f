// Writes what is written from the plugins' own tables, or says what differs: bun scripts/docs.ts [--check]
//   docs/plugins.md and docs/plugins/*.md      pages
//   docs/schemas/*.schema.json                 JSON Schemas for editors
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import type { Suite } from "../lib/cni/request.ts";
import { pages } from "./docs/pages.ts";
import { schemas } from "./docs/schemas.ts";

async function suiteOf(): Promise<Suite> {
  const names = (await readdir("plugins")).map((file) => file.replace(".ts", ""));
  const entries = await Promise.all(
    names.map(async (name) => [name, (await import(`../plugins/${name}.ts`)).plugin] as const),
  );
  return Object.fromEntries(entries);
}

/** Every file below docs/ that is made, with its text. */
export async function files(): Promise<Map<string, string>> {
  const suite = await suiteOf();
  const made = new Map(Object.entries(await pages(suite)));
  for (const [name, schema] of Object.entries(schemas(suite)))
    made.set(`schemas/${name}`, `${JSON.stringify(schema, undefined, 2)}\n`);
  return made;
}

if (import.meta.main) {
  const made = await files();
  const folders = ["plugins", "schemas"];
  await Promise.all(folders.map((folder) => mkdir(`docs/${folder}`, { recursive: true })));
  const there = (
    await Promise.all(folders.map(async (name) => (await readdir(`docs/${name}`)).map((file) => `${name}/${file}`)))
  ).flat();
  const surplus = there.filter((file) => !made.has(file));
  if (!process.argv.includes("--check")) {
    for (const [file, text] of made) await writeFile(`docs/${file}`, text);
    for (const file of surplus) await rm(`docs/${file}`);
  } else {
    const wrong = [...surplus];
    for (const [file, text] of made)
      if (text !== (await readFile(`docs/${file}`, "utf8").catch(() => ""))) wrong.push(file);
    const examples = await readdir("docs/examples");
    const bare = [...made.keys()]
      .flatMap((file) => /^plugins\/(.*)\.md$/.exec(file)?.[1] ?? [])
      .filter((type) => !examples.includes(`${type}.conflist`));
    for (const file of wrong) process.stderr.write(`docs/${file} is not what the plugins' tables say: run make docs\n`);
    for (const type of bare)
      process.stderr.write(`docs/examples/${type}.conflist is missing: each plugin has an example\n`);
    if (wrong.length + bare.length > 0) process.exit(1);
  }
}
