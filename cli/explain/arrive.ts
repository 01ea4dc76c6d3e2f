// What a packet meets in the pod that it is for, and which way answers take.
import { findLink, isUp } from "../../lib/ip/link.ts";
import type { Namespace } from "../../lib/netns/netns.ts";
import { isListening, routeOf, wrongSource } from "./lookup.ts";
import { describe, type Ends, linkWith, nameOf, node, refusals, routeText, type Way, wrongWith } from "./way.ts";

/** At the pod: its link, the way back, who listens. */
export function arrive(way: Way, { inner, outer }: Ends, seen: string): void {
  const { trail, to, target } = way;
  const at = to.name;
  const wrong = wrongWith(outer);
  if (wrong) throw trail.stop(node, "link", wrong);
  if (!isUp(inner)) throw trail.stop(at, "link", `${nameOf(inner)} is down`);
  const ns = to.ns!;
  if (!linkWith(ns, target)) throw trail.stop(at, "address", `it does not have ${target}`);
  trail.ok(at, "link", describe(inner, target));
  const back = routeOf(ns, { to: seen });
  if ("refused" in back)
    throw trail.stop(at, "route back", `${refusals[back.refused] ?? back.refused}: answers to ${seen} do not leave it`);
  if (wrongSource(ns, { to: target, from: seen, input: inner.index }, nameOf(inner)) !== undefined) {
    const what = `${seen} comes in by ${nameOf(inner)}, but the way back leads elsewhere`;
    throw trail.stop(at, "rp_filter", `${what}: rp_filter in the pod drops it`);
  }
  trail.ok(at, "route back", routeText(back, findLink(ns, back.link ?? 0), seen));
  listening(way, ns, at);
}

export function listening({ trail, protocol, port, target }: Way, ns: Namespace, at: string): void {
  if (port === undefined) return;
  if (isListening(ns, protocol, target, port)) trail.ok(at, "port", `${protocol} ${port}: somebody listens`);
  else throw trail.stop(at, "port", `${protocol} ${port}: nobody listens`);
}
