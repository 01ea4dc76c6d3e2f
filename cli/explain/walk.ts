// A packet's way from one endpoint to another, as this node's kernel would lead it: asked step by step, nothing is sent.
import { leavePod } from "./depart.ts";
import { follow, type Trail } from "./trail.ts";
import { throughNode } from "./transit.ts";
import { familyOf, type Question, type Way } from "./way.ts";

/** The way there; the way back is asked for at its end. */
export function explain(question: Question): Trail {
  return follow((trail) => {
    const { from, to } = question;
    const families = new Set(from.addresses.map(familyOf));
    const target = to.addresses.find((address) => families.has(familyOf(address))) ?? to.addresses[0];
    if (target === undefined) throw trail.stop(to.name, "address", "it has no address");
    const way: Way = { ...question, trail, target, source: "", family: familyOf(target) };
    const input = from.kind === "pod" ? leavePod(way) : undefined;
    throughNode(way, input);
  });
}
