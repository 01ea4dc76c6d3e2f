// Delegation to another plugin, IPAM above all. https://www.cni.dev/docs/spec/#section-4-plugin-delegation
// Our own plugins run in this process (a second one costs as much as the rest of an ADD), but only when the look-up on
// CNI_PATH finds the very executable that is running; anything else there is executed, as the specification says.
import { runProgram } from "#ffi";
import { isRegularFile, type Status, status } from "../sys/file.ts";
import { badConfig, CniError, codes } from "./errors.ts";
import { makeRequest, type Request, type Verb } from "./request.ts";
import { type Result, readResult } from "./result.ts";
import { serve } from "./serve.ts";

/** Runs `verb` of the plugin `type` with this request's environment and configuration. Its result, for ADD. */
export function delegate(request: Request<any>, type: string, verb: Verb, key = "ipam.type"): Result {
  if (type === "" || type.includes("/")) throw badConfig(key, type, "must be the name of a plugin");
  const found = find(type, request.path);
  if (!found) throw badConfig(key, type, `no such plugin in CNI_PATH ${request.path.join(":")}`);
  const plugin = request.suite[type];
  const self = status("/proc/self/exe");
  if (plugin && self && found.status.inode === self.inode && found.status.device === self.device) {
    const { environment, json, stdin, suite } = request;
    return serve(plugin, makeRequest(plugin, verb, environment, json as any, stdin, suite)) ?? {};
  }
  return execute(request, found.path, type, verb);
}

/** The first regular file of that name on the path. */
function find(type: string, path: readonly string[]): { path: string; status: Status } | undefined {
  for (const directory of path) {
    const candidate = `${directory}/${type}`;
    const found = status(candidate);
    if (found && isRegularFile(found)) return { path: candidate, status: found };
  }
  return undefined;
}

function execute(request: Request<any>, path: string, type: string, verb: Verb): Result {
  const environment: Record<string, string> = { CNI_COMMAND: verb };
  for (const name in request.environment) environment[name] ??= request.environment[name] ?? "";
  const { status: exit, output } = runProgram(path, environment, request.stdin);
  let json: any;
  try {
    json = output.trim() === "" ? null : JSON.parse(output);
  } catch {
    // What it printed is no JSON: said below, with the text in the details.
  }
  if (exit !== 0) {
    // The specification wants a failed delegated ADD deleted; whether that works changes nothing for the caller.
    if (verb === "ADD") runProgram(path, { ...environment, CNI_COMMAND: "DEL" }, request.stdin);
    if (typeof json?.msg === "string") {
      throw new CniError(Number(json.code) || codes.internal, json.msg, { details: json.details || undefined });
    }
    throw new CniError(codes.internal, `Cannot run ${verb} of plugin "${type}": it ended with status ${exit}`, {
      details: output.slice(0, 2000) || undefined,
    });
  }
  if (verb !== "ADD") return {};
  if (json === undefined) {
    throw new CniError(codes.decodingFailure, `Cannot read the result of plugin "${type}": no JSON`, {
      details: output.slice(0, 2000),
    });
  }
  return json === null ? {} : readResult(json, request.cniVersion, `result of ${type}`);
}
