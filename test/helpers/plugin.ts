// Running a plugin's executable as a runtime does, in a throw-away node. https://www.cni.dev/docs/spec/#section-2-execution-protocol
import { resolve } from "node:path";
import type { Node } from "./node.ts";

/** Our executables, and the reference ones of the package containernetworking-plugins. */
export const ours = resolve(process.env.TENON_BIN ?? "build/bin");
export const reference = "/usr/lib/cni";
export const soak = process.env.TENON_SOAK === "1";

export interface Call {
  containerId?: string;
  /** Path inside the node; "" for none. */
  netns?: string;
  ifname?: string;
  args?: string;
  /** Directory of the executable, and the first of CNI_PATH. */
  bin?: string;
  path?: string;
  env?: Record<string, string>;
  timeout?: number;
}

export interface Outcome {
  exitCode: number;
  stdout: string;
  stderr: string;
  /** stdout as JSON; undefined where it is empty. Text that is no JSON throws. */
  json: any;
}

/** Runs `verb` of the plugin `conf.type`. `conf` may also be the text of stdin, for `type`. */
export async function call(
  node: Node,
  verb: string,
  conf: object | string,
  options: Call & { type?: string } = {},
): Promise<Outcome> {
  const {
    containerId = "c1",
    netns = "",
    ifname = "eth0",
    args = "",
    bin = ours,
    path = bin,
    env = {},
    timeout,
  } = options;
  const type = options.type ?? (conf as any).type;
  const { stdout, stderr, exitCode } = await node.exec(`${bin}/${type}`, [], {
    input: typeof conf === "string" ? conf : JSON.stringify(conf),
    env: {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: containerId,
      CNI_NETNS: netns,
      CNI_IFNAME: ifname,
      CNI_ARGS: args,
      CNI_PATH: path,
      ...env,
    },
    reject: false,
    timeout,
  });
  return { stdout, stderr, exitCode, json: stdout.trim() === "" ? undefined : JSON.parse(stdout) };
}

/** Like call, but anything other than success throws what the plugin said. Returns the result of ADD. */
export async function must(node: Node, verb: string, conf: object, options: Call = {}): Promise<any> {
  const { exitCode, stdout, stderr, json } = await call(node, verb, conf, options);
  if (exitCode !== 0) throw new Error(`${verb} of ${(conf as any).type} failed: ${stdout} ${stderr}`);
  return json;
}

/** The words of the specification's error object, checked for shape: code, msg, cniVersion. */
export function errorOf({ exitCode, stdout, json }: Outcome): { code: number; msg: string; details?: string } {
  if (exitCode !== 1) throw new Error(`exit code ${exitCode}, not 1: ${stdout}`);
  if (typeof json?.code !== "number" || typeof json.msg !== "string" || typeof json.cniVersion !== "string") {
    throw new Error(`not an error object: ${stdout}`);
  }
  return json;
}
