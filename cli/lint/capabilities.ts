// What a runtime tells a plugin of a pod: only what the plugin's `capabilities` ask for.
// https://www.cni.dev/docs/conventions/#dynamic-plugin-specific-fields-capabilities--runtime-configuration
import { schemaOf } from "../../lib/cni/config.ts";
import type { Suite } from "../../lib/cni/request.ts";
import { type Conf, type Document, type Entry, isObject, valueAt } from "./document.ts";
import { join, type Report } from "./finding.ts";
import type { Schema } from "./keys.ts";
import { nearest } from "./nearest.ts";

/** Capabilities that the conventions name: others' plugins know more than ours. */
const conventional = [
  "portMappings",
  "ipRanges",
  "bandwidth",
  "dns",
  "ips",
  "mac",
  "infinibandGUID",
  "deviceID",
  "aliases",
];

/** What a plugin and its IPAM plugin take from runtimeConfig; undefined for what is not ours. */
export function knownCapabilities({ type, ipam }: Pick<Entry, "type" | "ipam">, suite: Suite): string[] | undefined {
  const keys = (name: string | undefined) => {
    if (!name || !Object.hasOwn(suite, name)) return [];
    const { properties = {} } = schemaOf(suite[name]!.conf) as Schema;
    return Object.keys(properties.runtimeConfig?.properties ?? {});
  };
  return Object.hasOwn(suite, type) ? [...new Set([...keys(type), ...keys(ipam)])] : undefined;
}

/** The capabilities that a configuration asks for. */
export function declared(conf: Conf): string[] {
  const given = valueAt(conf, "capabilities");
  return isObject(given) ? Object.keys(given).filter((key) => given[key] === true) : [];
}

export function checkCapabilities({ entries }: Document, suite: Suite, report: Report): void {
  for (const entry of entries) {
    checkDeclared(entry, entries, suite, report);
    checkMissing(entry, report);
  }
}

function checkDeclared(entry: Entry, entries: readonly Entry[], suite: Suite, report: Report): void {
  const { path, conf, outer, type } = entry;
  const given = valueAt(conf, "capabilities");
  if (given === undefined) return;
  if (!isObject(given)) {
    report("error", "capabilities", join(path, "capabilities"), 'It must be an object, as { "portMappings": true }');
    return;
  }
  const inner = entries.filter((other) => other.outer === entry);
  const known =
    type === "chain"
      ? inner.flatMap((other) => knownCapabilities(other, suite) ?? conventional)
      : knownCapabilities(entry, suite);
  for (const [name, value] of Object.entries(given)) {
    const place = join(path, `capabilities.${name}`);
    if (typeof value !== "boolean") report("error", "capabilities", place, "It must be true or false");
    if (known && !known.includes(name)) {
      const meant = nearest(name, [...known, ...conventional]);
      report(
        "warning",
        "capabilities",
        place,
        `${type} takes nothing of that name from a runtime`,
        meant && meant !== name ? `did you mean ${meant}?` : undefined,
      );
    } else if (outer && value === true && !declared(outer.conf).includes(name)) {
      const hint = `"capabilities": { "${name}": true } at ${outer.path} too`;
      report("error", "capabilities", place, "The runtime tells the chain what the chain itself asks for", hint);
    }
  }
}

function checkMissing({ path, type, conf, ipam }: Entry, report: Report): void {
  const has = (name: string) => declared(conf).includes(name);
  const place = join(path, "capabilities");
  const hint = (name: string) => `"capabilities": { "${name}": true }`;
  if (type === "portmap" && !has("portMappings"))
    report(
      "error",
      "missing-capability",
      place,
      "No pod's host ports ever get here: portMappings is not asked for",
      hint("portMappings"),
    );
  const rates = ["ingressRate", "egressRate"].some((key) => valueAt(conf, key));
  if (type === "bandwidth" && !has("bandwidth") && !rates)
    report("error", "missing-capability", place, "No pod's limits ever get here, and none is set", hint("bandwidth"));
  if (ipam === "host-local" && !has("ipRanges")) {
    const ranges = valueAt(conf, "ipam", "ranges");
    if (!valueAt(conf, "ipam", "subnet") && !(Array.isArray(ranges) && ranges.length > 0))
      report(
        "error",
        "no-range",
        join(path, "ipam.ranges"),
        "There is no range, here or from the runtime",
        '"ranges": [[{ "subnet": "10.0.0.0/24" }]]',
      );
  }
  if ((ipam === "host-local" || ipam === "static") && !has("ips"))
    report("note", "missing-capability", place, "A pod cannot ask for an address of its choice", hint("ips"));
  if (["bridge", "macvlan", "tuning"].includes(type) && !has("mac"))
    report("note", "missing-capability", place, "A pod cannot ask for a MAC address of its choice", hint("mac"));
}
