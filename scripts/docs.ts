// Writes docs/plugins.md from the plugins' own configuration tables: bun scripts/docs.ts [--check]
import { readdir, readFile, writeFile } from "node:fs/promises";
import { schemaOf } from "../lib/cni/config.ts";
import type { Plugin } from "../lib/cni/request.ts";

interface Schema {
  type?: string;
  enum?: string[];
  properties?: Record<string, Schema>;
  items?: Schema;
  required?: string[];
  minimum?: number;
  maximum?: number;
  default?: unknown;
  description?: string;
}

/** One row for a key, and those of the keys below it. */
function rows(schema: Schema, path: string, required: boolean): string[] {
  let inner = schema;
  let name = path;
  while (inner.items) {
    inner = inner.items;
    name += "[]";
  }
  const kind = inner.enum ? inner.enum.map((word) => `"${word}"`).join(", ") : (inner.type ?? "any");
  const bounds =
    inner.minimum === undefined && inner.maximum === undefined ? "" : ` ${inner.minimum ?? ""}..${inner.maximum ?? ""}`;
  const fallback = required ? "required" : schema.default === undefined ? "" : `\`${JSON.stringify(schema.default)}\``;
  const row = `| \`${name}\` | ${kind}${bounds} | ${fallback} | ${schema.description} |`;
  return [row, ...below(inner, `${name}.`)];
}

function below({ properties = {}, required = [] }: Schema, prefix: string): string[] {
  return Object.entries(properties).flatMap(([key, schema]) => rows(schema, prefix + key, required.includes(key)));
}

/** The page, from every file in plugins/. */
export async function page(): Promise<string> {
  const parts = [
    "# Plugins",
    "",
    "Every key of every plugin, written by `make docs` from the tables that read them. Keys match without regard to",
    "case, null counts as absent, unknown keys are ignored, a value of the wrong type is an error that names both.",
    "All take `cniVersion`, `name`, `type` and `prevResult` besides, as the specification says.",
  ];
  for (const file of (await readdir("plugins")).sort()) {
    const source = await readFile(`plugins/${file}`, "utf8");
    const [, title, link] = /^\/\/ (\S+: .*?)\.?\n\/\/ (https:\S+)/m.exec(source) ?? [];
    const { plugin } = (await import(`../plugins/${file}`)) as { plugin: Plugin };
    const table = below(schemaOf(plugin.conf) as Schema, "");
    parts.push("", `## ${file.replace(".ts", "")}`, "", `${title}. The reference's page: <${link}>`, "");
    if (table.length > 0) parts.push("| key | type | default | meaning |", "|---|---|---|---|", ...table);
    else parts.push("No keys of its own.");
  }
  return `${parts.join("\n")}\n`;
}

if (import.meta.main) {
  const text = await page();
  if (!process.argv.includes("--check")) await writeFile("docs/plugins.md", text);
  else if (text !== (await readFile("docs/plugins.md", "utf8").catch(() => ""))) {
    process.stderr.write("docs/plugins.md is not what the plugins' tables say: run make docs\n");
    process.exit(1);
  }
}
