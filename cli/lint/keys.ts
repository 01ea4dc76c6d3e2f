// Keys that nobody reads: unknown ones, with the nearest that is known; those that runtimes write; repeated ones.
import { schemaOf } from "../../lib/cni/config.ts";
import { firstRepeated, keysAt } from "../../lib/cni/json-keys.ts";
import { anyCase, type Suite } from "../../lib/cni/request.ts";
import { type Conf, type Document, type Entry, isObject } from "./document.ts";
import { join, type Report } from "./finding.ts";
import { nearest } from "./nearest.ts";

export interface Schema {
  properties?: Record<string, Schema>;
  items?: Schema;
}

const ofList = [
  "cniVersion",
  "cniVersions",
  "name",
  "disableCheck",
  "disableGC",
  "loadOnlyInlinedPlugins",
  "plugins",
  "args",
];
/** What any plugin may have: of no concern to some. */
const ofAll = ["cniVersion", "name", "type", "prevResult", "capabilities", "runtimeConfig", "args", "ipam", "dns"];

/** The keys of a plugin's configuration, with those that its IPAM plugin reads; undefined for what is not ours. */
export function schemaFor({ type, ipam }: Pick<Entry, "type" | "ipam">, suite: Suite): Schema | undefined {
  const plugin = Object.hasOwn(suite, type) ? suite[type] : undefined;
  if (!plugin) return undefined;
  const properties = { ...(schemaOf(plugin.conf) as Schema).properties };
  const own = properties.ipam;
  const giver =
    ipam && Object.hasOwn(suite, ipam) ? (schemaOf(suite[ipam]!.conf) as Schema).properties?.ipam : undefined;
  if (giver) properties.ipam = { properties: { ...own?.properties, ...giver.properties } };
  else if (ipam) properties.ipam = {}; // somebody else's
  if (type === "chain") properties.plugins = {}; // each for itself
  return { properties };
}

export function checkKeys({ json, isList, entries, text }: Document, suite: Suite, report: Report): void {
  if (isList) {
    checkObject(json, { properties: Object.fromEntries(ofList.map((key) => [key, {}])) }, "", [], report);
    repeated(text, [], report);
  }
  for (const entry of entries) {
    const { path, conf, outer } = entry;
    checkReserved(conf, path, isList, report);
    const schema = schemaFor(entry, suite);
    if (schema) checkObject(conf, schema, path, ofAll, report);
    // A list below the top is past what can be told of its keys in the text.
    if (!isList && !outer) repeated(text, [], report);
  }
}

function checkObject(
  conf: Conf,
  { properties }: Schema,
  path: string,
  besides: readonly string[],
  report: Report,
): void {
  if (!properties) return;
  const known = [...Object.keys(properties), ...besides];
  for (const [name, value] of Object.entries(conf)) {
    if (name.startsWith("cni.dev/")) continue;
    const key = known.find((key) => key === name) ?? known.find((key) => key.toLowerCase() === name.toLowerCase());
    const place = join(path, name);
    if (key === undefined) {
      const meant = nearest(name, known);
      report("warning", "unknown-key", place, `No such key: it is ignored`, meant && `did you mean ${meant}?`);
      continue;
    }
    if (key !== name) report("note", "case", place, `It is read as ${key}`, "write it so, for those who search for it");
    // Arguments are for whoever knows them.
    if (key !== "args" && key !== "runtimeConfig") checkValue(value, properties[key] ?? {}, place, report);
  }
}

function checkValue(value: unknown, schema: Schema, path: string, report: Report): void {
  if (Array.isArray(value) && schema.items)
    for (const [at, one] of value.entries()) checkValue(one, schema.items, `${path}[${at}]`, report);
  else if (isObject(value)) checkObject(value, schema, path, [], report);
}

const reserved = {
  prevResult: "runtimes write it: what stands here is lost",
  runtimeConfig: "runtimes write it, from what capabilities ask for: what stands here is lost",
};

function checkReserved(conf: Conf, path: string, isList: boolean, report: Report): void {
  for (const [key, reason] of Object.entries(reserved))
    if (anyCase(conf, key) !== undefined) report("warning", "reserved-key", join(path, key), `Reserved: ${reason}`);
  for (const key of Object.keys(conf))
    if (key.startsWith("cni.dev/"))
      report("warning", "reserved-key", join(path, key), "Reserved for the specification");
  if (!isList) return;
  for (const key of ["name", "cniVersion"])
    if (anyCase(conf, key) !== undefined)
      report("note", "reserved-key", join(path, key), "Not needed here: the list's replaces it", "leave it out");
}

function repeated(text: string, path: string[], report: Report): void {
  const key = firstRepeated(keysAt(text, path), (key) => key.toLowerCase());
  if (key !== undefined)
    report("error", "repeated-key", key, "It stands there twice: which one counts depends on the reader");
}
