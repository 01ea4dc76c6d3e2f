// host-local alone, by the number of reservations in its folder: beside the reference, and beside our own empty case.
// The second comparison is measured apart, because the reference reads every file and leaves cold caches to who follows it.
import { mkdirSync, writeFileSync } from "node:fs";
import { type Findings, interleave, row, type Step } from "../measure.ts";
import type { Node, Side } from "../node.ts";
import { hostLocal } from "../pod.ts";

const FULL = 60_000;
const SIZES = [0, 1000, 10_000, FULL];
const ROUNDS_FULL = 20; // two and a half seconds each for the reference alone

export function measureHostLocal({ sides: all, options }: Node): Findings {
  const sides = all.filter(({ name }) => name !== "floor");
  const ours = sides.find(({ name }) => name === "ours");
  const sizes = options.quick ? [0, 1000, FULL] : SIZES;
  const roundsFull = options.quick ? 2 : Math.min(ROUNDS_FULL, options.pairs);
  for (const side of sides) for (const size of sizes) fill(side, size);
  const rows = sizes.flatMap((size) => {
    const found = interleave(
      sides,
      size === FULL ? roundsFull : options.pairs,
      steps(() => size),
    );
    return [...found].map(([step, samples]) => row(`host-local ${step}, ${count(size)} reservations`, samples));
  });
  const search = interleave(sides, roundsFull, [searching()]);
  rows.push(row(`host-local ADD, searching past ${count(FULL)}`, search.get("search")!));
  if (!ours) return { rows };

  const pair = ["empty", "full"].map((name) => ({ ...ours, name }));
  const found = interleave(
    pair,
    options.pairs,
    steps((side) => (side.name === "full" ? FULL : 0)),
  );
  const growth = [...found].map(([step, samples]) => row(`host-local ${step}`, samples, 1.3, ["empty", "full"]));
  return { rows, growth };
}

/** ADD, DEL and the same DEL again; pauses as between a runtime's calls, longer than a folder's timestamp is in doubt. */
function steps(size: (side: Side) => number): Step[] {
  const call = (verb: "ADD" | "DEL") => (side: Side, round: number) =>
    hostLocal(side, verb, `pod-${side.name}-${round + 10}`, folder(side, size(side)));
  return [
    { name: "ADD", pause: 20, command: call("ADD") },
    { name: "DEL", pause: 20, command: call("DEL") },
    { name: "repeated DEL", pause: 20, command: call("DEL") },
  ];
}

/** The next address after the last one is taken, and so are all the others up to the end of the run. */
function searching(): Step {
  return {
    name: "search",
    pause: 20,
    command: (side, round) => {
      writeFileSync(`${folder(side, FULL)}/bench/last_reserved_ip.0`, address(0));
      return hostLocal(side, "ADD", `search-${round + 10}`, folder(side, FULL));
    },
  };
}

/** `size` reservations of other pods in the format both share: container, CR LF, interface; and the pointer at the last. */
function fill(side: Side, size: number): void {
  const network = `${folder(side, size)}/bench`;
  mkdirSync(network, { recursive: true });
  for (let at = 0; at < size; at++) writeFileSync(`${network}/${address(at)}`, `other-${at}\r\neth0`, { mode: 0o600 });
  if (size > 0) writeFileSync(`${network}/last_reserved_ip.0`, address(size - 1), { mode: 0o600 });
}

function folder(side: Side, size: number): string {
  return `${side.state}/reservations-${size}`;
}

/** From 10.71.0.2 on. */
function address(at: number): string {
  return `10.71.${(at + 2) >> 8}.${(at + 2) & 255}`;
}

function count(size: number): string {
  return size === 0 ? "no" : size.toLocaleString("en");
}
