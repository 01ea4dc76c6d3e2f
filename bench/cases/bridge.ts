// One pod at a time: bridge with host-local in its shadow, without and with masquerading.
import { type Findings, interleave, memory, row } from "../measure.ts";
import { must, type Node } from "../node.ts";
import { BRIDGE, podSteps } from "../pod.ts";

export function measureBridge(node: Node): Findings {
  const { sides, options } = node;
  bridgeForFloor(node);
  const plain = interleave(sides, options.pairs, podSteps());
  const suites = sides.filter(({ name }) => name !== "floor");
  const masqueraded = interleave(suites, options.pairs, podSteps(true));
  return {
    rows: [
      row("bridge + host-local ADD", plain.get("ADD")!, 0.55),
      row("bridge + host-local DEL", plain.get("DEL")!, 0.25),
      row("ADD with ipMasq", masqueraded.get("ADD")!, 0.3),
      row("DEL with ipMasq", masqueraded.get("DEL")!, 0.1),
    ],
    memory: [
      ...memory((step) => `bridge + host-local ${step}`, sides, podSteps()),
      ...memory((step) => `${step} with ipMasq`, suites, podSteps(true)),
    ],
  };
}

/** The plugins make their bridge themselves; floor.c has no code for what happens once a host. */
export function bridgeForFloor({ sides }: Node): void {
  const floor = sides.find(({ name }) => name === "floor");
  if (!floor) return;
  floor.enter();
  must("ip", "link", "add", BRIDGE, "up", "type", "bridge");
  must("ip", "address", "add", "10.71.0.1/16", "dev", BRIDGE);
}
