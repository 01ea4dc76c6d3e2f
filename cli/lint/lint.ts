// All rules over all files.
import type { Suite } from "../../lib/cni/request.ts";
import { checkAddresses, compareNetworks, type Pool } from "./addresses.ts";
import { checkCapabilities } from "./capabilities.ts";
import { type Document, readDocument } from "./document.ts";
import type { Finding, Report, Severity } from "./finding.ts";
import { checkKeys } from "./keys.ts";
import { checkOrder } from "./order.ts";
import { checkPath, compareBridges, compareTunnels } from "./path.ts";
import { checkValues } from "./values.ts";
import { checkVersion } from "./version.ts";

export interface File {
  name: string;
  text: string;
}

const ranks: readonly Severity[] = ["error", "warning", "note"];

/** What there is to say of these files, each alone and together; `speaks` is the newest version of their runtime. */
export function lint(files: readonly File[], suite: Suite, speaks?: string): Finding[] {
  const findings: Finding[] = [];
  const reportOf =
    (file: string): Report =>
    (severity, rule, path, message, hint) =>
      findings.push({ file, path, severity, rule, message, ...(hint ? { hint } : {}) });
  const documents: Document[] = [];
  const pools: Pool[] = [];
  for (const { name, text } of files) {
    const report = reportOf(name);
    const document = readDocument(name, text, report);
    if (!document) continue;
    documents.push(document);
    checkName(document, report);
    checkVersion(document, speaks, report);
    checkKeys(document, suite, report);
    checkValues(document, suite, report);
    checkOrder(document, suite, report);
    checkCapabilities(document, suite, report);
    pools.push(...checkAddresses(document, report));
    checkPath(document, report);
  }
  compareNetworks(documents, pools, reportOf);
  compareBridges(documents, reportOf);
  compareTunnels(documents, reportOf);
  const order = new Map(files.map(({ name }, at) => [name, at]));
  return findings.sort(
    (a, b) => order.get(a.file)! - order.get(b.file)! || ranks.indexOf(a.severity) - ranks.indexOf(b.severity),
  );
}

function checkName({ json, name }: Document, report: Report): void {
  if (name === "") report("error", "name", "name", "The network must have a name");
  else if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name))
    report("error", "name", "name", "It must be letters, digits, _, . and -, and begin with a letter or digit");
  if (json.disableCheck === true)
    report("note", "disabled", "disableCheck", "Nobody ever looks whether pods' networks are whole");
  if (json.disableGC === true) report("note", "disabled", "disableGC", "What crashes leave is never taken away");
}
