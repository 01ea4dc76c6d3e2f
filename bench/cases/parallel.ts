// 50 pods at the same time: wall time from the first start to the last end.
import { type Findings, interleaveBatches, row } from "../measure.ts";
import type { Node } from "../node.ts";
import { batchSteps } from "../pod.ts";

export function measureParallel(node: Node): Findings {
  const sides = node.sides.filter(({ name }) => name !== "floor");
  const plain = interleaveBatches(sides, node.options.batches, batchSteps());
  const masqueraded = interleaveBatches(sides, node.options.batches, batchSteps(true));
  return {
    rows: [
      row("50 parallel ADD", plain.get("ADD")!, 0.6),
      row("50 parallel DEL", plain.get("DEL")!, 0.75),
      row("50 parallel ADD with ipMasq", masqueraded.get("ADD")!, 0.25),
      row("50 parallel DEL with ipMasq", masqueraded.get("DEL")!),
    ],
  };
}
