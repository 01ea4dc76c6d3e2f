// Runs a list as libcni does: ADD and CHECK in order with the results handed on, DEL in reverse, capabilities as asked for.
// https://www.cni.dev/docs/spec/#section-3-execution-of-network-configurations
import type { Node } from "./node.ts";
import { type Call, must } from "./plugin.ts";

export interface List {
  cniVersion: string;
  cniVersions?: string[];
  name: string;
  plugins: ({ type: string; capabilities?: Record<string, boolean> } & Record<string, unknown>)[];
}

/** What a runtime could tell of a pod. */
export type Told = Record<string, unknown>;

/** One plugin's configuration as it gets it. */
function injected(list: List, at: number, told: Told, more: object): any {
  const { cniVersion, cniVersions = [], name, plugins } = list;
  const plugin = plugins[at]!;
  const asked = Object.entries(told).filter(([key]) => plugin.capabilities?.[key]);
  return {
    ...plugin,
    name,
    cniVersion: [...cniVersions, cniVersion].sort().at(-1),
    ...(asked.length > 0 ? { runtimeConfig: Object.fromEntries(asked) } : {}),
    ...more,
  };
}

/** ADD of a whole list; the last result. */
export async function addList(node: Node, list: List, at: Call, told: Told = {}): Promise<any> {
  let prevResult: any;
  for (const place of list.plugins.keys())
    prevResult = await must(node, "ADD", injected(list, place, told, { prevResult }), at);
  return prevResult;
}

/** CHECK with the result of ADD. */
export async function checkList(node: Node, list: List, at: Call, prevResult: any, told: Told = {}): Promise<void> {
  for (const place of list.plugins.keys()) await must(node, "CHECK", injected(list, place, told, { prevResult }), at);
}

export async function deleteList(node: Node, list: List, at: Call, prevResult?: any, told: Told = {}): Promise<void> {
  for (const place of [...list.plugins.keys()].reverse())
    await must(node, "DEL", injected(list, place, told, { prevResult }), at);
}

/** STATUS, and GC of everything but what is named. */
export async function statusOfList(node: Node, list: List): Promise<void> {
  for (const place of list.plugins.keys()) await must(node, "STATUS", injected(list, place, {}, {}));
}

export async function collectList(node: Node, list: List, valid: object[] = []): Promise<void> {
  const more = { "cni.dev/valid-attachments": valid };
  for (const place of list.plugins.keys()) await must(node, "GC", injected(list, place, {}, more));
}
