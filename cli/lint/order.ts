// Which plugin stands where: first the one that makes the interface, then those that work on it; IPAM plugins in none of
// these places. https://www.cni.dev/docs/spec/#lifecycle--ordering
import type { Suite } from "../../lib/cni/request.ts";
import type { Document, Entry } from "./document.ts";
import { join, type Report } from "./finding.ts";
import { nearest } from "./nearest.ts";

type Role = "main" | "chained" | "ipam";

/** What well-known plugins do, whoever's they are. */
export const roles: Readonly<Record<string, Role>> = {
  bridge: "main",
  dummy: "main",
  "host-device": "main",
  ipvlan: "main",
  loopback: "main",
  macvlan: "main",
  ptp: "main",
  tap: "main",
  vlan: "main",
  bandwidth: "chained",
  firewall: "chained",
  portmap: "chained",
  routes: "chained",
  sbr: "chained",
  tuning: "chained",
  vrf: "chained",
  vxlan: "chained",
  dhcp: "ipam",
  "host-local": "ipam",
  static: "ipam",
};

export function checkOrder({ isList, entries }: Document, suite: Suite, report: Report): void {
  const acting = entries.filter(({ type }) => type !== "chain");
  for (const { path, ipam } of entries) if (ipam !== undefined) checkName(ipam, join(path, "ipam.type"), suite, report);
  for (const { path, type } of entries) checkName(type, join(path, "type"), suite, report);

  let made: Entry | undefined;
  for (const [at, entry] of acting.entries()) {
    const { path, type } = entry;
    const role = Object.hasOwn(roles, type) ? roles[type] : undefined;
    const place = join(path, "type");
    if (role === "ipam") {
      const hint = `"ipam": { "type": "${type}", ... } of the plugin that makes the interface`;
      report("error", "order", place, `${type} gives addresses to another plugin: it stands in no list`, hint);
    } else if (role === "chained" && at === 0) {
      const hint = isList
        ? "after the plugin that makes the interface"
        : 'a list, "plugins": [...], with one before it';
      report(
        "error",
        "order",
        place,
        `${type} works on an interface that is there: another plugin must come first`,
        hint,
      );
    } else if (role === "main" && made && type !== "loopback") {
      const hint = "one network for each interface";
      report(
        "error",
        "order",
        place,
        `${made.path} makes the interface already: ${type} would find its name taken`,
        hint,
      );
    }
    // What we do not know may make an interface too, if it comes first.
    if (!made && (role === "main" || (role === undefined && at === 0))) made = entry;
    const twin = acting.slice(0, at).find((other) => other.type === type);
    if (twin && role === "chained")
      report(
        "warning",
        "twice",
        place,
        `${twin.path} is ${type} already: one of a kind can keep what is an attachment's`,
      );
  }
  for (const { path, type, outer } of entries)
    if (type === "chain" && outer) report("error", "order", join(path, "type"), "A chain within a chain: write one");
}

function checkName(type: string, path: string, suite: Suite, report: Report): void {
  if (["", "chain"].includes(type) || Object.hasOwn(suite, type) || Object.hasOwn(roles, type)) return;
  const meant = nearest(type, [...new Set([...Object.keys(suite), ...Object.keys(roles)])]);
  if (meant)
    report("warning", "unknown-type", path, `No plugin that we know is called ${type}`, `did you mean ${meant}?`);
  else report("note", "unknown-type", path, `Not a plugin that we know: nothing is said of its keys`);
}
