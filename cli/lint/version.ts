// The version of the specification that a configuration is for: what it keeps runtimes from asking, and who refuses it.
// Runtimes take the highest of `cniVersions` and `cniVersion` that they speak; those before 1.1.0 read `cniVersion` alone.
import { newest, versions } from "../../lib/cni/result.ts";
import { type Document, valueAt } from "./document.ts";
import type { Report } from "./finding.ts";

const age = (version: string) => (versions as readonly string[]).indexOf(version);

/** `speaks`: the newest version of the runtime that the file is for, if that is known. */
export function checkVersion({ json }: Document, speaks: string | undefined, report: Report): void {
  const given = valueAt(json, "cniVersion");
  const more = valueAt(json, "cniVersions");
  const list = Array.isArray(more) ? more.filter((one) => typeof one === "string") : [];
  if (given === undefined && list.length === 0) {
    const message = "Without it the configuration counts as 0.1.0: no CHECK, GC or STATUS, one address of a family";
    report("warning", "version", "cniVersion", message, '"cniVersion": "1.0.0"');
    return;
  }
  const all = [...(typeof given === "string" ? [given] : []), ...list];
  const unknown = all.filter((version) => age(version) < 0);
  if (unknown.length > 0) {
    const key = unknown[0] === given ? "cniVersion" : "cniVersions";
    report("error", "version", key, `No version that we speak: ${unknown.join(", ")}`, `one of ${versions.join(", ")}`);
  }
  const spoken = all.map(age).filter((at) => at >= 0);
  if (spoken.length === 0) return;
  const usable = speaks === undefined ? spoken : spoken.filter((at) => at <= age(speaks));
  if (usable.length === 0) {
    report(
      "error",
      "version",
      "cniVersion",
      `The runtime speaks ${speaks} at most and refuses it`,
      `"cniVersion": "${speaks}"`,
    );
    return;
  }
  const used = versions[Math.max(...usable)]!;
  const both = '"cniVersions": ["1.0.0", "1.1.0"], which runtimes that do not know it pass over';
  if (age(used) < age("0.4.0"))
    report(
      "warning",
      "version",
      "cniVersion",
      `In ${used} there is no CHECK, and DEL is not told what ADD made`,
      '"cniVersion": "1.0.0"',
    );
  if (age(used) < age("1.1.0"))
    report(
      speaks === newest ? "warning" : "note",
      "version",
      "cniVersion",
      `In ${used} there is no GC and no STATUS: what crashes leave stays`,
      both,
    );
  else if (speaks === undefined && given === "1.1.0")
    report(
      "note",
      "version",
      "cniVersion",
      "containerd 1.6 and podman 4 speak 1.0.0 at most and refuse it",
      `"cniVersion": "1.0.0" and ${both}`,
    );
}
