// Findings of lint in short: "severity rule path".
import { suite } from "../../build/plugins.ts";
import type { Finding } from "../../cli/lint/finding.ts";
import { lint } from "../../cli/lint/lint.ts";

export const ipam = { type: "host-local", ranges: [[{ subnet: "10.1.0.0/16" }]] };

/** A list as a file. */
export function list(plugins: unknown, more: object = {}, name = "a.conflist"): { name: string; text: string } {
  return { name, text: JSON.stringify({ cniVersion: "1.1.0", name: "pods", plugins, ...more }) };
}

/** What is found in files, in full. */
export const findings = (...files: { name: string; text: string }[]): Finding[] => lint(files, suite);

/** Findings of these rules in short, notes too. */
export function brief(found: readonly Finding[], ...rules: string[]): string[] {
  return found
    .filter(({ rule }) => rules.length === 0 || rules.includes(rule))
    .map(({ severity, rule, path }) => `${severity} ${rule} ${path}`.trim());
}
