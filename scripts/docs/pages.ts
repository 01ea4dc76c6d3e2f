// Pages of the plugins: from the head of the source, the configuration table, and the example in docs/examples.
import { readFile } from "node:fs/promises";
import { knownCapabilities } from "../../cli/lint/capabilities.ts";
import { roles } from "../../cli/lint/order.ts";
import { schemaOf } from "../../lib/cni/config.ts";
import type { Suite } from "../../lib/cni/request.ts";
import { declaredBy } from "./example.ts";
import type { Schema } from "./schemas.ts";

const words = {
  main: "makes the interface: first of a list",
  chained: "works on an interface that another plugin made",
  ipam: "gives addresses to a plugin that makes an interface",
};

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

/** What a plugin's source says of itself: its line and its link. */
async function headOf(type: string): Promise<{ title: string; link: string }> {
  const source = await readFile(`plugins/${type}.ts`, "utf8");
  const [, title, link] = /^\/\/ \S+: (.*?)\.?\n\/\/ (https:\S+)/m.exec(source) ?? [];
  if (!title || !link)
    throw new Error(
      `Cannot write the page of ${type}: plugins/${type}.ts must begin with "// ${type}: what it is" and a link`,
    );
  return { title, link };
}

async function pageOf(type: string, suite: Suite): Promise<string> {
  const { title, link } = await headOf(type);
  const { conf, versions } = suite[type]!;
  const role = roles[type];
  const example = await readFile(`docs/examples/${type}.conflist`, "utf8").catch(() => "");
  const capabilities = knownCapabilities({ type }, suite) ?? [];
  const table = below(schemaOf(conf) as Schema, "");
  const asked = example === "" ? [] : declaredBy(JSON.parse(example));
  return [
    `# ${type}`,
    "",
    `${title[0]!.toUpperCase()}${title.slice(1)}.`,
    "",
    ...(role ? [`- Kind: ${role}: ${words[role]}.`] : []),
    `- Specification: <${link}>`,
    ...(capabilities.length > 0 ? [`- Capabilities: ${capabilities.map((name) => `\`${name}\``).join(", ")}.`] : []),
    ...(versions ? [`- Versions: ${versions.join(", ")}.`] : []),
    `- Schema for editors: [${type}.schema.json](../schemas/${type}.schema.json)`,
    ...(example === ""
      ? []
      : [
          "",
          "## Example",
          "",
          `[${type}.conflist](../examples/${type}.conflist), which a test executes:`,
          "",
          "```json",
          example.trim(),
          "```",
        ]),
    ...(asked.length > 0
      ? ["", `The runtime tells it ${asked.map((name) => `\`${name}\``).join(", ")} of a pod that has such.`]
      : []),
    "",
    "## Keys",
    "",
    ...(table.length > 0
      ? ["| key | type | default | meaning |", "|---|---|---|---|", ...table]
      : ["None of its own."]),
    "",
  ].join("\n");
}

/** Every page by the name of its file below docs/. */
export async function pages(suite: Suite): Promise<Record<string, string>> {
  const types = Object.keys(suite).sort();
  const heads = await Promise.all(types.map(headOf));
  const index = [
    "# Plugins",
    "",
    "Written by `make docs` from the tables that read the configurations. Keys match without regard to case, null counts as",
    "absent, unknown keys are ignored (`tenon lint` finds them), a value of the wrong type is an error that names both. All",
    "take `cniVersion`, `name`, `type` and `prevResult` besides, as the specification says.",
    "",
    "| plugin | kind | what it does |",
    "|---|---|---|",
    ...types.map((type, at) => `| [${type}](plugins/${type}.md) | ${roles[type] ?? ""} | ${heads[at]!.title} |`),
    "",
    "For editors: [conflist.schema.json](schemas/conflist.schema.json) is the schema of a whole list; in VS Code,",
    "",
    "```json",
    '{ "json.schemas": [{ "fileMatch": ["*.conflist"], "url": "./docs/schemas/conflist.schema.json" }],',
    '  "files.associations": { "*.conflist": "json" } }',
    "```",
    "",
    "Lists that serve a purpose, each with what it promises: [use-cases.md](use-cases.md).",
    "",
  ].join("\n");
  const each = await Promise.all(types.map(async (type) => [`plugins/${type}.md`, await pageOf(type, suite)] as const));
  return { "plugins.md": index, ...Object.fromEntries(each) };
}
