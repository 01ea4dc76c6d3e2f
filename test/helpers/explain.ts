// A node with pods, and what `tenon explain` says there beside what packets do.
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bridge } from "./firewall.ts";
import { makeNode, type Netns, type Node, type NodeOptions } from "./node.ts";
import { must } from "./plugin.ts";

/** The command: an executable, or its sources. */
const [program, ...before] = process.env.TENON_COMMAND
  ? [process.env.TENON_COMMAND]
  : [process.execPath, join(import.meta.dir, "../../cli/main.ts")];

export interface Explained {
  exitCode: number;
  reaches: boolean;
  steps: { at: string; what: string; detail: string; state: string }[];
  /** "at: what: detail" of the step that it stops at. */
  stopped?: string;
}

/** Runs a command of `tenon` in a node. */
export function tenonIn(node: Node, ...args: string[]) {
  return node.exec(program!, [...before, ...args], { reject: false });
}

export async function explainIn(node: Node, ...args: string[]): Promise<Explained> {
  const { exitCode, stdout, stderr } = await tenonIn(node, "explain", "--json", ...args);
  if (exitCode === 2 || stdout === "") throw new Error(stderr);
  const { steps, reaches } = JSON.parse(stdout) as Explained;
  const last = steps.find(({ state }) => state === "stops");
  return { exitCode, reaches, steps, ...(last ? { stopped: `${last.at}: ${last.what}: ${last.detail}` } : {}) };
}

/** The detail of a step. */
export function said({ steps }: Explained, what: string): string | undefined {
  return steps.find((step) => step.what === what)?.detail;
}

export interface Pod {
  netns: Netns;
  path: string;
  address: string;
  result: any;
}

/** A pod on a bridge, or attached by another main plugin. */
export async function podOn(node: Node, name: string, conf: object): Promise<Pod> {
  const netns = await node.netns(name);
  const result = await must(node, "ADD", conf, { netns: netns.path, containerId: name });
  return { netns, path: netns.path, address: result.ips[0].address.split("/")[0], result };
}

/** A node with pods a and b on one bridge, 10.1.0.0/16 and fd00:1::/64. */
export async function twoPods(
  more: object = {},
  options: NodeOptions = {},
): Promise<{ node: Node; a: Pod; b: Pod; conf: object }> {
  const node = await makeNode("explain", options);
  try {
    const conf = { ...bridge("net", "cni0"), ...more };
    return { node, a: await podOn(node, "a", conf), b: await podOn(node, "b", conf), conf };
  } catch (error) {
    await node.close();
    throw error;
  }
}

/** Whether a packet of `from` gets an answer from there at once; `soon`: or within two seconds, as a new link's carrier comes up. */
export async function pings(from: Pick<Netns, "exec">, address: string, soon = false): Promise<boolean> {
  for (let tries = soon ? 6 : 1; tries > 0; tries--) {
    const { exitCode } = await from.exec("ping", ["-c1", "-W0.3", address], { reject: false });
    if (exitCode === 0) return true;
  }
  return false;
}

/** What a runtime's library remembers of an attachment: the file that it writes after ADD. */
export async function remember(
  node: Node,
  { netns, result }: Pod,
  conf: object,
  args: [string, string][] = [],
): Promise<void> {
  const { name, cniVersion } = conf as { name: string; cniVersion: string };
  const list = { cniVersion, name, plugins: [conf] };
  const cached = {
    kind: "cniCacheV1",
    containerId: netns.name,
    config: Buffer.from(JSON.stringify(list)).toString("base64"),
    ifName: "eth0",
    networkName: name,
    cniArgs: args,
    result,
  };
  await mkdir(node.path("/var/lib/cni/results"), { recursive: true });
  await writeFile(node.path(`/var/lib/cni/results/${name}-${netns.name}-eth0`), JSON.stringify(cached));
}

/** The file goes as after DEL. */
export function forget(node: Node, { netns }: Pod, network = "net"): Promise<void> {
  return rm(node.path(`/var/lib/cni/results/${network}-${netns.name}-eth0`));
}
