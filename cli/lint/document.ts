// A network configuration as lint sees it: a list or a single plugin, with every plugin of it by its place.
// https://www.cni.dev/docs/spec/#section-1-network-configuration-format
import { anyCase } from "../../lib/cni/request.ts";
import { join, type Report } from "./finding.ts";

export type Conf = Record<string, unknown>;

/** One plugin of the list; those inside a `chain` stand beside the others. */
export interface Entry {
  path: string;
  type: string;
  conf: Conf;
  /** The `chain` that it is inside of. */
  outer?: Entry;
  /** Its IPAM plugin. */
  ipam?: string;
}

export interface Document {
  file: string;
  text: string;
  json: Conf;
  isList: boolean;
  name: string;
  /** In the order in which ADD calls them. */
  entries: Entry[];
}

export const isObject = (value: unknown): value is Conf =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** Reads a file's text. What cannot be a configuration at all is reported, and undefined. */
export function readDocument(file: string, text: string, report: Report): Document | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    report("error", "no-json", "", `Cannot read it: ${(error as Error).message}`);
    return undefined;
  }
  if (!isObject(json)) {
    report("error", "no-json", "", "It must be a JSON object");
    return undefined;
  }
  const plugins = anyCase(json, "plugins");
  const isList = plugins !== undefined;
  const extension = /\.[^./]*$/.exec(file)?.[0];
  if (isList && extension === ".conf")
    report("error", "extension", "", "Runtimes read a .conf as a single plugin", "rename it to .conflist");
  if (!isList && extension === ".conflist")
    report("error", "extension", "", "A .conflist must have a list of plugins", 'put it into "plugins": [...]');
  const document: Document = { file, text, json, isList, name: textOf(anyCase(json, "name")), entries: [] };
  if (!isList) {
    document.entries = entriesOf([json], () => "", report);
    return document;
  }
  if (!Array.isArray(plugins) || plugins.length === 0) {
    report("error", "plugins", "plugins", "It must be a list of plugins, with one at least");
    return undefined;
  }
  document.entries = entriesOf(plugins, (at) => `plugins[${at}]`, report);
  return document;
}

function entriesOf(plugins: unknown[], pathOf: (at: number) => string, report: Report, outer?: Entry): Entry[] {
  return plugins.flatMap((conf, at) => {
    const path = pathOf(at);
    if (!isObject(conf)) {
      report("error", "plugins", path, "A plugin must be an object");
      return [];
    }
    const type = textOf(anyCase(conf, "type"));
    if (type === "") {
      report("error", "no-type", join(path, "type"), "A plugin must have a type: the name of its executable");
      return [];
    }
    const ipam = anyCase(conf, "ipam");
    const entry: Entry = { path, type, conf, outer, ipam: isObject(ipam) ? textOf(anyCase(ipam, "type")) : undefined };
    const inner = type === "chain" ? anyCase(conf, "plugins") : undefined;
    if (!Array.isArray(inner)) return [entry];
    return [entry, ...entriesOf(inner, (at) => `${join(path, "plugins")}[${at}]`, report, entry)];
  });
}

/** The value at a plain path of keys, each without regard to case. */
export function valueAt(conf: Conf, ...keys: string[]): unknown {
  let value: unknown = conf;
  for (const key of keys) value = isObject(value) ? anyCase(value, key) : undefined;
  return value;
}
