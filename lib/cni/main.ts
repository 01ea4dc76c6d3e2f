// The main line of every plugin: environment and stdin in, one JSON document out.
import { environment, programName } from "#ffi";
import { isSameFile, readAll, writeAll } from "../sys/file.ts";
import { exit } from "../sys/libc.ts";
import { CniError, codes, toCniError } from "./errors.ts";
import { assertVersion, makeRequest, type Plugin, readConfiguration, readVerb, type Suite } from "./request.ts";
import { newest, versions, writeResult } from "./result.ts";
import { serve } from "./serve.ts";

/** Serves one request of `plugin` and ends the process; it may delegate in this process to what `suite` has. */
export function main(plugin: Plugin<any>, suite: Suite = {}): never {
  const spoken = plugin.versions ?? versions;
  let printed = "0.1.0";
  try {
    if (!environment.CNI_COMMAND) return about(spoken);
    const verb = readVerb(environment);
    if (verb === "VERSION") return finish(0, versionText(spoken));
    const stdin = readStdin();
    const json = readConfiguration(stdin);
    assertVersion(verb, json.cniVersion, spoken);
    printed = json.cniVersion;
    if (verb === "ADD" || verb === "DEL") assertForeignNamespace(environment.CNI_NETNS ?? "");
    const result = serve(plugin, makeRequest(plugin, verb, environment, json, stdin, suite));
    return finish(0, result ? writeResult(result, json.cniVersion) : "");
  } catch (error) {
    return finish(1, errorText(toCniError(error), printed));
  }
}

/** Answers what takes no plugin's code: VERSION, by what each plugin speaks, and being called by a name that none has. */
export function withoutPlugin(spoken: Readonly<Record<string, readonly string[]>>): never {
  const name = calledAs();
  if (Object.hasOwn(spoken, name)) return finish(0, versionText(spoken[name]!));
  const names = Object.keys(spoken).join(", ");
  const error = new CniError(codes.badEnvironment, `Cannot run as "${name}": call me as one of ${names}`);
  return finish(1, errorText(error, newest));
}

/** The name that the process was called by, without its folder. */
function calledAs(): string {
  return programName.slice(programName.lastIndexOf("/") + 1);
}

function versionText(spoken: readonly string[]): string {
  return `${JSON.stringify({ cniVersion: newest, supportedVersions: spoken })}\n`;
}

function readStdin(): Uint8Array {
  try {
    return readAll(0);
  } catch (error) {
    throw new CniError(codes.ioFailure, `Cannot read the configuration on stdin: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

// The Go library looks only after the work is done; here a mistake changes nothing.
function assertForeignNamespace(path: string): void {
  if (path === "" || ["1", "true"].includes((environment.CNI_NETNS_OVERRIDE ?? "").toLowerCase())) return;
  let isOwn = false;
  try {
    isOwn = isSameFile(path, "/proc/self/ns/net");
  } catch {} // a path that cannot be followed is no namespace: opening it says so where that matters
  if (isOwn) {
    throw new CniError(
      codes.invalidNamespace,
      `Cannot use CNI_NETNS "${path}": it is the plugin's own network namespace`,
    );
  }
}

function errorText({ code, message, details }: CniError, cniVersion: string): string {
  return JSON.stringify({ cniVersion, code, msg: message, details }, null, 4);
}

function about(spoken: readonly string[]): never {
  const said = `CNI ${calledAs()} plugin of Tenon\nCNI protocol versions supported: ${spoken.join(", ")}\n`;
  writeAll(2, new TextEncoder().encode(said));
  exit(0);
}

/** Prints and leaves by _exit, which spares the runtime's own tidying. */
function finish(status: number, text: string): never {
  try {
    if (text !== "") writeAll(1, new TextEncoder().encode(text), "the result to stdout");
    exit(status);
  } catch (error) {
    // Either stdout is closed, or the C library cannot be called at all (a JIT that is forbidden): say it the other way.
    console.log(text.startsWith("{") && status !== 0 ? text : errorText(toCniError(error), newest));
    process.exit(1);
  }
}
