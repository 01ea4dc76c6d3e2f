// Delegation to another plugin, IPAM above all. https://www.cni.dev/docs/spec/#section-4-plugin-delegation
// Our own plugins run in this process (a second one costs as much as the rest of an ADD), but only when the look-up on
// CNI_PATH finds the very executable that is running; anything else there is executed, as the specification says.
import { runProgram } from "#ffi";
import { isRegularFile, type Status, status } from "../sys/file.ts";
import { badConfig, CniError, codes } from "./errors.ts";
import { makeRequest, type Plugin, type Request, type Verb } from "./request.ts";
import { type Result, readResult, versions } from "./result.ts";
import { serve } from "./serve.ts";

/** Types that this process is delegating to now. */
const underWay = new Set<string>();

/** The executable that is running, once somebody asked. */
let self: Status | undefined;

/** A plugin as the look-up found it: one of ours, to be run in this process, or else an executable. */
export interface Located {
  type: string;
  path: string;
  plugin: Plugin<any> | undefined;
}

/** Runs `verb` of the plugin `type` with this request's environment and configuration. Its result, for ADD. */
export function delegate(request: Request<any>, type: string, verb: Verb, key = "ipam.type"): Result {
  return delegateTo(request, locate(request, type, key), verb, key);
}

/** Finds the plugin `type` on CNI_PATH; an error that names `key` where there is none. */
export function locate({ path, suite }: Request<any>, type: string, key: string): Located {
  if (type === "" || type.includes("/") || type.includes("\0")) {
    throw badConfig(key, type, "must be the name of a plugin");
  }
  const found = find(type, path);
  if (!found) throw badConfig(key, type, `no such plugin in CNI_PATH ${path.join(":")}`);
  const own = Object.hasOwn(suite, type) ? suite[type] : undefined;
  self ??= own && status("/proc/self/exe");
  const isSelf = own && self && found.status.inode === self.inode && found.status.device === self.device;
  return { type, path: found.path, plugin: isSelf ? own : undefined };
}

/**
 * Runs `verb` of a plugin that was located. `prevResult` is what the configuration says of it, where that is read
 * already.
 */
export function delegateTo(
  request: Request<any>,
  { type, path, plugin }: Located,
  verb: Verb,
  key: string,
  prevResult?: Result,
): Result {
  if (!plugin) return execute(request, path, type, verb);
  if (underWay.has(type)) throw badConfig(key, type, "it would delegate to itself without end");
  underWay.add(type);
  try {
    const { environment, json, stdin, suite } = request;
    return serve(plugin, makeRequest(plugin, verb, environment, json as any, stdin, suite, prevResult)) ?? {};
  } finally {
    underWay.delete(type);
  }
}

/** The first regular file of that name on the path. */
function find(type: string, path: readonly string[]): { path: string; status: Status } | undefined {
  for (const directory of path) {
    const candidate = `${directory}/${type}`;
    try {
      const found = status(candidate);
      if (found && isRegularFile(found)) return { path: candidate, status: found };
    } catch {
      // A directory that may not be entered, or a loop of links: another one on the path may have it.
    }
  }
  return undefined;
}

function execute(request: Request<any>, path: string, type: string, verb: Verb): Result {
  const { status: exit, output } = run(request, path, type, verb);
  try {
    return resultOf(request, type, verb, exit, output);
  } catch (error) {
    try {
      // The specification wants a failed delegated ADD deleted.
      if (verb === "ADD") run(request, path, type, "DEL");
    } catch {
      // Whether that works changes nothing for the caller.
    }
    throw error;
  }
}

function run({ environment, stdin }: Request<any>, path: string, type: string, verb: Verb) {
  const theirs: Record<string, string> = {};
  for (const name in environment) theirs[name] = environment[name] ?? "";
  theirs.CNI_COMMAND = verb;
  try {
    return runProgram(path, theirs, stdin);
  } catch (error) {
    throw new CniError(codes.internal, `Cannot run ${verb} of plugin "${type}": ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** What the plugin said, or a CniError of what it said. */
function resultOf(request: Request<any>, type: string, verb: Verb, exit: number, output: string): Result {
  let json: any;
  try {
    json = JSON.parse(output);
  } catch {
    // What it printed is no JSON: said below, with the text in the details.
  }
  const details = output.slice(0, 2000) || undefined;
  if (exit !== 0) {
    if (typeof json?.msg === "string") {
      const theirs = typeof json.details === "string" ? json.details : "";
      throw new CniError(Number(json.code) || codes.internal, json.msg, { details: theirs || undefined });
    }
    const how = exit < 0 ? "a signal ended it" : `it ended with status ${exit}`;
    throw new CniError(codes.internal, `Cannot run ${verb} of plugin "${type}": ${how}`, { details });
  }
  if (verb !== "ADD") return {};
  if (json === undefined) {
    throw new CniError(codes.decodingFailure, `Cannot read the result of plugin "${type}": no JSON`, { details });
  }
  if (json === null) return {};
  // A result of another version than the configuration's is read as what it says it is.
  const own = (versions as readonly string[]).includes(json.cniVersion) ? json.cniVersion : request.cniVersion;
  return readResult(json, own, `result of ${type}`);
}
