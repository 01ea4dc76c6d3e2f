// What a runtime's library does around the plugins of a list: one after the other with the result so far, and a file of the
// outcome while the attachment lives. containernetworking/cni libcni/api.go: AddNetworkList, DelNetworkList, cachedInfo.
import { Buffer } from "node:buffer";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Netns, Node } from "./node.ts";
import { must } from "./plugin.ts";

export interface List {
  cniVersion: string;
  name: string;
  plugins: Record<string, any>[];
}

export interface Attached {
  containerId: string;
  ifname: string;
  result: any;
  /** The file of the outcome, by its path inside the node. */
  file: string;
}

export const results = "/var/lib/cni/results";

const confOf = (
  { cniVersion, name }: List,
  plugin: Record<string, any>,
  capabilities: Record<string, unknown>,
  prevResult?: any,
) => {
  const asked = Object.entries(capabilities).filter(([capability]) => plugin.capabilities?.[capability]);
  const runtimeConfig = asked.length > 0 ? { runtimeConfig: Object.fromEntries(asked) } : {};
  return { cniVersion, name, ...plugin, ...runtimeConfig, prevResult };
};

/** ADD of every plugin of the list. */
export async function attach(
  node: Node,
  list: List,
  pod: Pick<Netns, "path">,
  containerId: string,
  capabilities: Record<string, unknown> = {},
  ifname = "eth0",
): Promise<Attached> {
  let result: any;
  for (const plugin of list.plugins)
    result = await must(node, "ADD", confOf(list, plugin, capabilities, result), {
      netns: pod.path,
      containerId,
      ifname,
    });
  const file = `${results}/${list.name}-${containerId}-${ifname}`;
  const cached = {
    kind: "cniCacheV1",
    containerId,
    config: Buffer.from(JSON.stringify(list)).toString("base64"),
    ifName: ifname,
    networkName: list.name,
    capabilityArgs: capabilities,
    result,
  };
  await node.exec("mkdir", ["-p", results]);
  await Bun.write(join(node.dir, file), JSON.stringify(cached));
  return { containerId, ifname, result, file };
}

/** DEL of every plugin of the list, the last one first. */
export async function detach(
  node: Node,
  list: List,
  { containerId, ifname, result, file }: Attached,
  capabilities: Record<string, unknown> = {},
  netns = "",
): Promise<void> {
  for (const plugin of [...list.plugins].reverse())
    await must(node, "DEL", confOf(list, plugin, capabilities, result), { netns, containerId, ifname });
  await rm(join(node.dir, file), { force: true });
}
