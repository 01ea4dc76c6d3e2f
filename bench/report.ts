// Findings as markdown: the one table beside the reference and the kernel floor, then growth, memory, allocator.
import type { Findings, Memory, Row } from "./measure.ts";
import type { Ratio } from "./statistics.ts";

/** The whole page. `facts` are lines about machine and versions, `notes` what a reader must know before believing it. */
export function page(facts: string[], notes: string[], findings: Findings[], allocator: string): string {
  const rows = findings.flatMap((each) => each.rows);
  const grown = findings.flatMap((each) => each.growth ?? []);
  const ported = findings.flatMap((each) => each.ports ?? []);
  const peers = findings.flatMap((each) => each.peers ?? []);
  const across = findings.flatMap((each) => each.across ?? []);
  const memories = findings.flatMap((each) => each.memory ?? []);
  return [
    "# Benchmarks\n",
    "Made by `make bench`; not edited by hand. Whole processes, interleaved in one run, the order rotated by round: trust",
    "the ratios more than the milliseconds. Every side has a host namespace, pods and state of its own.\n",
    ...[...facts, ...notes, ...failures([...rows, ...grown, ...ported, ...peers, ...across])].map(
      (line) => `- ${line}`,
    ),
    ...section("Time", rows, timing, [
      "Medians in ms of wall time, and of CPU time with everything a call left running; the next call starts when that",
      "has ended. The floor is `bench/floor.c`: the same system calls and no plugin; for VERSION an empty program. Executables of",
      "both sides lie in memory in the largest pieces that the kernel makes, as after `make install`.",
    ]),
    ...section("host-local with 60,000 reservations", grown, beside("none", "60,000"), [
      "Ours beside ours with none, in ms.",
    ]),
    ...section("portmap with 5,000 published ports", ported, beside("5", "5,000"), [
      "Ours beside ours with 5, in ms. A connection is one packet to the pod and its refusal.",
    ]),
    ...section("vxlan with 5,000 nodes", peers, beside("2", "5,000"), [
      "Ours beside ours with 2, in ms. Each node has a subnet and an address of a family: four entries in the kernel, seven of",
      "both. With IPv6 the kernel itself walks over all its routes whenever a link comes, goes or changes its MTU.",
    ]),
    ...section("From pod to pod across nodes", across, beside("by hand", "ours"), [
      "One stream of TCP beside the same set-up made by hand, masquerade and its exemptions included, in ms. A range that holds 1",
      "is no difference.",
    ]),
    ...section("Peak memory", memories, memory, [
      "MB resident of a call's largest process; most of ours is the executable's file, mapped by huge pages that count whole and",
      "shared by all that run.",
    ]),
    ...(allocator ? [`\n## Allocator\n\n${allocator.trim()}`] : []),
    "",
  ].join("\n");
}

function section<T>(title: string, list: T[], render: (list: T[]) => string, words: string[]): string[] {
  return list.length ? [`\n## ${title}\n`, ...words, "", render(list)] : [];
}

function timing(rows: Row[]): string {
  const head = [
    "case",
    "reference",
    "ours",
    "floor",
    "ours / reference (95 %)",
    "at most",
    "",
    "CPU ref.",
    "CPU ours",
    "n",
  ];
  const cells = rows.map(({ name, ms, cpu, rounds, ...row }) => [
    name,
    ...[ms.reference, ms.ours, ms.floor].map(figure),
    ...judged(row),
    ...[cpu.reference, cpu.ours].map(figure),
    String(rounds),
  ]);
  return table(head, cells);
}

/** Rows of two sides, which are its columns. */
function beside(one: string, other: string): (rows: Row[]) => string {
  return (rows) => {
    const cells = rows.map(({ name, ms, rounds, ...row }) => [
      name,
      ...Object.values(ms).map(figure),
      ...judged(row),
      String(rounds),
    ]);
    return table(["case", one, other, "ratio (95 %)", "at most", "", "n"], cells);
  };
}

function memory(found: Memory[]): string {
  const megabytes = (value: number | undefined) => value?.toFixed(1) ?? "";
  const cells = found.map(({ name, megabytes: { reference, ours, floor } }) => [
    name,
    ...[reference, ours, floor].map(megabytes),
  ]);
  return table(["case", "reference", "ours", "floor"], cells);
}

/** How often something failed, and how it failed first. */
function failures(rows: Row[]): string[] {
  const failed = rows.filter((row) => row.failures.length > 0);
  return failed.map(({ name, failures }) => `${name}: ${failures.length} runs failed, first: ${failures[0]}`);
}

/** Ratio, target, verdict. */
function judged({ ratio, target, failures }: Pick<Row, "ratio" | "target" | "failures">): string[] {
  const known = ratio && Number.isFinite(ratio.value);
  const verdict = known && target ? (ratio.value <= target ? "met" : "missed") : "";
  return [known ? interval(ratio) : "", target?.toString() ?? "", failures.length ? "failures" : verdict];
}

/** A markdown table whose columns also line up as plain text. */
function table(head: string[], rows: string[][]): string {
  const width = head.map((title, at) => Math.max(3, title.length, ...rows.map((row) => row[at]!.length)));
  const line = (cells: string[]) =>
    `| ${cells.map((cell, at) => (at === 0 ? cell.padEnd(width[at]!) : cell.padStart(width[at]!))).join(" | ")} |`;
  const rule = width.map((size, at) => (at === 0 ? "-".repeat(size) : `${"-".repeat(size - 1)}:`));
  return [line(head), line(rule), ...rows.map(line)].join("\n");
}

function figure(value: number | undefined): string {
  if (value === undefined) return "";
  if (!Number.isFinite(value)) return "failed";
  if (value < 0.1) return value.toFixed(4);
  return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
}

function interval({ value, low, high }: Ratio): string {
  const digits = value < 0.1 ? 3 : 2;
  return `${value.toFixed(digits)} (${low.toFixed(digits)}–${high.toFixed(digits)})`;
}
