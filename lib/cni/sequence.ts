// Plugins one after the other, with the results that the same list has when a runtime runs each as a process: what libcni
// hands from plugin to plugin. https://www.cni.dev/docs/spec/#deriving-execution-configuration-from-plugin-configuration
import type { Type } from "./config.ts";
import { delegateTo, type Located, locate } from "./delegate.ts";
import { badConfig, CniError, runAll, toCniError, transaction } from "./errors.ts";
import {
  anyCase,
  assertVersion,
  attachmentKeys,
  hasKey,
  makeRequest,
  type Part,
  type Request,
  type Verb,
} from "./request.ts";
import { type Result, readResult, shape } from "./result.ts";

/** One plugin of a list. */
export interface Step {
  type: string;
  /** The runtime's gifts that it takes, where `true`. */
  capabilities: Readonly<Record<string, unknown>>;
  /** Its configuration as it stands in the list. */
  json: Readonly<Record<string, unknown>>;
  /** What it is called in messages: "plugins[2]". */
  key: string;
}

/** Reads a list of plugins: one at least, each with a type, none of type `self`. */
export function steps(self: string): Type<Step[]> {
  return {
    schema: {
      type: "array",
      minItems: 1,
      items: { type: "object", properties: { type: { type: "string", description: "plugin" } }, required: ["type"] },
    },
    read(value, key) {
      if (!Array.isArray(value)) throw badConfig(key, value, "must be a list");
      if (value.length === 0) throw badConfig(key, value, "must hold one plugin at least");
      return value.map((one, at) => readStep(one, `${key}[${at}]`, self));
    },
  };
}

function readStep(json: unknown, key: string, self: string): Step {
  if (!isObject(json)) throw badConfig(key, json, "must be an object");
  const type = anyCase(json, "type");
  if (type === undefined) throw badConfig(`${key}.type`, type, "it is required");
  if (typeof type !== "string" || type === "") throw badConfig(`${key}.type`, type, "must be the name of a plugin");
  if (type === self) throw badConfig(`${key}.type`, type, `a ${self} cannot be part of another`);
  const capabilities = anyCase(json, "capabilities") ?? {};
  if (!isObject(capabilities)) throw badConfig(`${key}.capabilities`, capabilities, "must be an object");
  return { type, capabilities, json, key };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What a runtime has to pass to the whole list, and does not if `declared` lacks it: the capability and whose it is. */
export function missingCapabilities(list: readonly Step[], declared: unknown): { capability: string; of: Step }[] {
  const own = isObject(declared) ? declared : {};
  return list.flatMap((of) =>
    Object.keys(of.capabilities)
      .filter((capability) => of.capabilities[capability] === true && own[capability] !== true)
      .map((capability) => ({ capability, of })),
  );
}

/** A result on its way to the next plugin: read, and as a configuration holds it. */
interface Handed {
  read: Result | undefined;
  written: unknown;
}

/** ADD of all, each with the result of the one before. Should one fail, those before it are deleted, the last one first. */
export function addAll(request: Request<any>, list: readonly Step[]): Result {
  const found = locateAll(request, list);
  return transaction((undo) => {
    let before = given(request);
    let made: Result = {};
    for (const [at, step] of list.entries()) {
      made = run(request, step, found[at]!, "ADD", before);
      let reached = before;
      undo(() => void run(request, step, found[at]!, "DEL", reached));
      // What a plugin hands on untouched is as it should be already.
      if (made !== before.read || at === 0) reached = handOn(made, request.cniVersion, at + 1 === list.length);
      before = reached;
    }
    return made;
  });
}

/** CHECK of all in order, up to the first that objects. */
export function checkAll(request: Request<any>, list: readonly Step[]): void {
  const found = locateAll(request, list);
  for (const [at, step] of list.entries()) run(request, step, found[at]!, "CHECK", given(request));
}

/** DEL of all, the last one first. What fails keeps no other from its work. */
export function deleteAll(request: Request<any>, list: readonly Step[]): void {
  runEach(request, [...list].reverse());
}

/** GC or STATUS of all, in order. What fails keeps no other from its work. */
export function runEach(request: Request<any>, list: readonly Step[]): void {
  runAll(
    request.verb,
    list.map((step) => () => {
      run(request, step, locateStep(request, step), request.verb, given(request));
    }),
  );
}

/** What the attachment has on the host by plugins of this suite, in their order. */
export function partsOf(request: Request<any>, list: readonly Step[]): Part[] {
  const { environment, suite, verb } = request;
  const before = given(request);
  return list.flatMap((step) => {
    const plugin = Object.hasOwn(suite, step.type) ? suite[step.type] : undefined;
    if (!plugin?.parts) return [];
    const { json, stdin } = configurationOf(request, step, before.written);
    return plugin.parts(makeRequest(plugin, verb, environment, json, stdin, suite, before.read));
  });
}

/** Looks before anything is done: a plugin that is missing, or does not speak the version, would come to light half way. */
function locateAll(request: Request<any>, list: readonly Step[]): Located[] {
  return list.map((step) => {
    const located = locateStep(request, step);
    if (located.plugin) naming(step, () => assertVersion(request.verb, request.cniVersion, located.plugin!.versions));
    return located;
  });
}

const locateStep = (request: Request<any>, { type, key }: Step) => locate(request, type, `${key}.type`);

const given = ({ prevResult, json }: Request<any>): Handed => ({
  read: prevResult,
  written: anyCase(json, "prevResult"),
});

/** What reading the printed result would give, without the text in between; the last one's nobody reads here. */
function handOn(result: Result, version: string, last: boolean): Handed {
  const written = shape(result, version);
  return { read: last ? result : readResult(written, version), written };
}

/** Runs one verb of one plugin, with the configuration that a runtime would send it. */
function run(request: Request<any>, step: Step, located: Located, verb: Verb, before: Handed): Result {
  const own = configurationOf(request, step, before.written);
  return naming(step, () => delegateTo({ ...request, ...own }, located, verb, `${step.key}.type`, before.read));
}

/** The plugin's own keys, those of the network, and what the runtime passed: as much of it as the plugin asks for. */
function configurationOf(request: Request<any>, step: Step, prevResult: unknown) {
  const { json: whole, network, cniVersion } = request;
  const json: Record<string, unknown> & { name: string; cniVersion: string } = {
    ...step.json,
    name: network,
    cniVersion,
  };
  if (prevResult !== undefined) json.prevResult = prevResult;
  if (request.verb === "GC") {
    for (const key of attachmentKeys) if (hasKey(whole, key)) json[key] = anyCase(whole, key) ?? null;
  }
  const passed = anyCase(whole, "runtimeConfig");
  if (isObject(passed)) {
    const taken: Record<string, unknown> = {};
    for (const name in passed) if (step.capabilities[name] === true) taken[name] = passed[name];
    // One that stands in the list survives where the runtime passes nothing: as with libcni.
    if (Object.keys(taken).length > 0) json.runtimeConfig = taken;
  }
  // Some runtimes add arguments to each plugin of a list.
  const args = anyCase(whole, "args");
  if (args !== undefined && anyCase(json, "args") === undefined) json.args = args;
  return { json, stdin: new TextEncoder().encode(JSON.stringify(json)) };
}

/** Says in the details of an error whose it is; the message stays the plugin's. */
function naming<T>({ key, type }: Step, body: () => T): T {
  try {
    return body();
  } catch (error) {
    const { code, message, details } = toCniError(error);
    const where = `in ${key}, ${type}`;
    throw new CniError(code, message, { details: details ? `${where}: ${details}` : where, cause: error });
  }
}
