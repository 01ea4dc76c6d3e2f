// What starting a plugin costs: VERSION, loopback, VERSION with the executable gone from the page cache, and with it there in
// the small pieces in which such runs read it.
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { forget } from "../../lib/sys/page-cache.ts";
import { type Findings, interleave, memory, row, type Step } from "../measure.ts";
import type { Node, Side } from "../node.ts";
import { call } from "../pod.ts";

export function measureStart(node: Node): Findings {
  const { sides, options } = node;
  const nobody = { id: "", netns: "", ifname: "" };
  const version: Step = {
    name: "VERSION",
    command: (side) =>
      side.name === "floor"
        ? { path: side.bin, args: ["empty"], env: {}, input: "{}" }
        : call(side, "bridge", "VERSION", nobody, { type: "bridge" }),
  };
  const suites = sides.filter(({ name }) => name !== "floor");
  const loopback: Step[] = (["ADD", "DEL"] as const).map((verb) => ({
    name: verb,
    command: (side) => {
      const pod = { id: `${side.name}-lo`, netns: side.pods[0]!, ifname: "lo" };
      return call(side, "loopback", verb, pod, { type: "loopback" });
    },
  }));
  const versions = interleave(sides, options.pairs, [version]);
  const loopbacks = interleave(suites, options.pairs, loopback);
  const copies = copied(suites);
  const cold = interleave(suites, Math.min(10, options.pairs), [copiedVersion(copies, forget)]);
  const settled = interleave(suites, options.pairs, [copiedVersion(copies)]);
  return {
    rows: [
      row("VERSION", versions.get("VERSION")!),
      row("loopback ADD", loopbacks.get("ADD")!),
      row("loopback DEL", loopbacks.get("DEL")!),
      row("VERSION, executable not in the page cache", cold.get("copy")!),
      row("VERSION, executable as such a run left it there", settled.get("copy")!),
    ],
    memory: memory(() => "VERSION", sides, [version]),
  };
}

/** Folders with a private copy of each side's executable, which nobody else has mapped, so that its pages can be dropped. */
function copied(sides: Side[]): Map<Side, string> {
  const copies = new Map<Side, string>();
  for (const side of sides) {
    const folder = join(side.state, "cold");
    mkdirSync(folder);
    copyFileSync(join(side.bin, "bridge"), join(folder, "bridge"));
    copies.set(side, folder);
  }
  return copies;
}

/** VERSION of the copies, each time after `before`. */
function copiedVersion(copies: Map<Side, string>, before: (path: string) => void = () => {}): Step {
  return {
    name: "copy",
    command: (side) => {
      const bin = copies.get(side)!;
      before(join(bin, "bridge"));
      return call({ ...side, bin }, "bridge", "VERSION", { id: "", netns: "", ifname: "" }, { type: "bridge" });
    },
  };
}
