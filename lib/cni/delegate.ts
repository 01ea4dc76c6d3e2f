// Delegation to another plugin, IPAM above all. https://www.cni.dev/docs/spec/#section-4-plugin-delegation
// Our own plugins run in this process (a second one costs as much as the rest of an ADD), but only when the look-up on
// CNI_PATH finds the very executable that is running; anything else there is executed, as the specification says.
import { runProgram } from "#ffi";
import { isRegularFile, type Status, status } from "../sys/file.ts";
import { badConfig, CniError, codes } from "./errors.ts";
import { makeRequest, type Request, type Verb } from "./request.ts";
import { type Result, readResult, versions } from "./result.ts";
import { serve } from "./serve.ts";

/** Types that this process is delegating to now. */
const underWay = new Set<string>();

/** Runs `verb` of the plugin `type` with this request's environment and configuration. Its result, for ADD. */
export function delegate(request: Request<any>, type: string, verb: Verb, key = "ipam.type"): Result {
  if (type === "" || /[/\0]/.test(type)) throw badConfig(key, type, "must be the name of a plugin");
  const found = find(type, request.path);
  if (!found) throw badConfig(key, type, `no such plugin in CNI_PATH ${request.path.join(":")}`);
  const plugin = Object.hasOwn(request.suite, type) ? request.suite[type] : undefined;
  const self = status("/proc/self/exe");
  if (plugin && self && found.status.inode === self.inode && found.status.device === self.device) {
    if (underWay.has(type)) throw badConfig(key, type, "it would delegate to itself without end");
    underWay.add(type);
    try {
      const { environment, json, stdin, suite } = request;
      return serve(plugin, makeRequest(plugin, verb, environment, json as any, stdin, suite)) ?? {};
    } finally {
      underWay.delete(type);
    }
  }
  return execute(request, found.path, type, verb);
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
