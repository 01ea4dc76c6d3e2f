// Rewrites an ordinary list to one whose plugins run in one process: a single `chain` entry that holds them.
import type { Suite } from "../../lib/cni/request.ts";
import { declared } from "./capabilities.ts";
import type { Conf, Document } from "./document.ts";
import { roles } from "./order.ts";

/** Why a list cannot be fused. */
export class FuseError extends Error {}

/**
 * The list with its run of our plugins as one entry, which asks the runtime for all that they ask for. Others' plugins may
 * stand before or after the run, not in it.
 */
export function fuse({ json, isList, entries, file }: Document, suite: Suite): Conf {
  const refuse = (path: string, reason: string) => new FuseError(`Cannot fuse ${path} of ${file}: ${reason}`);
  if (!isList) throw refuse("the configuration", "it is a single plugin, not a list");
  const isOurs = (type: string) => Object.hasOwn(suite, type) && roles[type] !== "ipam";
  const chained = entries.find(({ type }) => type === "chain");
  if (chained) throw refuse(chained.path, "it is a chain already");
  const first = entries.findIndex(({ type }) => isOurs(type));
  const last = entries.findLastIndex(({ type }) => isOurs(type));
  if (first < 0) throw refuse("plugins", "none of them is ours");
  const run = entries.slice(first, last + 1);
  const foreign = run.find(({ type }) => !isOurs(type));
  if (foreign) throw refuse(`${foreign.path} "${foreign.type}"`, "it is none of ours, and stands between two that are");
  if (run.length < 2) throw refuse("plugins", "only one of them is ours");
  const capabilities = Object.fromEntries(run.flatMap(({ conf }) => declared(conf).map((name) => [name, true])));
  const entry: Conf = {
    type: "chain",
    ...(Object.keys(capabilities).length > 0 ? { capabilities } : {}),
    plugins: run.map(({ conf }) => conf),
  };
  const around = entries.map(({ conf }) => conf);
  const key = Object.keys(json).find((key) => key.toLowerCase() === "plugins")!;
  return { ...json, [key]: [...around.slice(0, first), entry, ...around.slice(last + 1)] };
}
