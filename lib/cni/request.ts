// A request: what the environment and stdin say, read once, never changed. https://www.cni.dev/docs/spec/#section-2-execution-protocol
import { writeAll } from "../sys/file.ts";
import { filtered } from "../sys/list.ts";
import { type Fields, readFields, readWhatCan, type Values, wrongInLinkName } from "./config.ts";
import { badConfig, CniError, codes, quote } from "./errors.ts";
import { type Result, readResult, versions } from "./result.ts";

export type Verb = "ADD" | "DEL" | "CHECK" | "GC" | "STATUS" | "VERSION";

/** One container's interface in one network. */
export interface Attachment {
  containerId: string;
  ifname: string;
}

export interface Request<F extends Fields = Fields> extends Attachment {
  verb: Verb;
  /** Path of the container's network namespace; "" where the runtime gave none (DEL). */
  netns: string;
  /** CNI_ARGS as given. */
  args: string;
  /** Directories of CNI_PATH. */
  path: readonly string[];
  cniVersion: string;
  /** `name` of the configuration. */
  network: string;
  conf: Values<F>;
  prevResult?: Result;
  /** GC: what is still alive. Undefined where the runtime did not say. */
  validAttachments?: readonly Attachment[];
  /** The whole configuration, as parsed and as given: for delegation. */
  json: Record<string, unknown>;
  stdin: Uint8Array;
  environment: Environment;
  /** The suite's own plugins in this process, by type: for delegation. */
  suite: Suite;
  /** Tells people something on stderr, which runtimes put into their log. */
  warn(text: string): void;
}

export type Environment = Record<string, string | undefined>;
export type Suite = Readonly<Record<string, Plugin<any>>>;

/** Something on the host that a living attachment needs: it can be looked at, and made again where somebody took it away. */
export interface Part {
  /** What it is, in a word or two, for counting: "bridge", "route". */
  kind: string;
  /** Which one, for people. */
  name: string;
  /** Making it needs the pod's namespace, which the agent never enters itself: another process does it. */
  inside?: boolean;
  /** Throws unless it is as ADD made it. Looks at the host alone. */
  check(): void;
  /** Makes it so. Done already is fine. `whole`: that did not do, so nothing is to be taken as given. */
  ensure(whole: boolean): void;
}

/** What a plugin is. Verbs that it lacks succeed and do nothing. */
export interface Plugin<F extends Fields = Fields> {
  /** The configuration table. */
  conf: F;
  /** Versions of the specification that it speaks; default: all. */
  versions?: readonly string[];
  /** Makes the attachment and says what came out. */
  add(request: Request<F>): Result;
  /** Throws if something that ADD made is missing or different. */
  check?(request: Request<F>): void;
  /** Removes the attachment; what is gone already is success. */
  del(request: Request<F>): void;
  /** Removes what is not in request.validAttachments. */
  gc?(request: Request<F>): void;
  /** Throws code 50 or 51 if an ADD could not be served. */
  status?(request: Request<F>): void;
  /**
   * What the attachment has on the host, in the order in which it can be made again, what is `inside` first. The request is
   * one of CHECK, without a namespace: that of the result counts.
   */
  parts?(request: Request<F>): Part[];
}

/** Letters, digits, _, . and -, the first a letter or digit: what names of networks and containers are made of. */
function isIdentifier(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const letter = code | 32;
    if ((letter >= 97 && letter <= 122) || (code >= 48 && code <= 57)) continue;
    if (at === 0 || (code !== 45 && code !== 46 && code !== 95)) return false;
  }
  return text !== "";
}

const needs: Record<Verb, readonly string[]> = {
  ADD: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  CHECK: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  DEL: ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
  GC: ["CNI_PATH"],
  STATUS: ["CNI_PATH"],
  VERSION: [],
};

/** The verb, after looking at the variables that it needs: code 4 for what is missing or malformed. */
export function readVerb(environment: Environment): Verb {
  const verb = environment.CNI_COMMAND as Verb;
  if (!Object.hasOwn(needs, verb)) {
    throw badConfig("CNI_COMMAND", verb, `must be one of ${Object.keys(needs).join(", ")}`, codes.badEnvironment);
  }
  const required = needs[verb];
  const refuse = (name: string, reason: string) =>
    new CniError(codes.badEnvironment, `Cannot use ${name} ${quote(environment[name])}: ${reason}`, {
      details: environment[name],
    });
  if (required.includes("CNI_CONTAINERID") && environment.CNI_CONTAINERID) {
    if (!isIdentifier(environment.CNI_CONTAINERID)) {
      throw refuse("CNI_CONTAINERID", "it must be letters, digits, _, . and -, and begin with a letter or digit");
    }
    if (environment.CNI_CONTAINERID.length > 200)
      throw refuse("CNI_CONTAINERID", "it must have at most 200 characters");
  }
  const ifname = environment.CNI_IFNAME;
  if (required.includes("CNI_IFNAME") && ifname) {
    const wrong = wrongInLinkName(ifname);
    if (wrong) throw refuse("CNI_IFNAME", wrong);
  }
  const missing = filtered(required, (name) => !environment[name]);
  if (missing.length > 0) {
    throw new CniError(
      codes.badEnvironment,
      `Cannot run ${verb}: required environment variables ${missing.join(", ")} missing`,
    );
  }
  return verb;
}

/** Parses stdin as a configuration: code 6 for what is no JSON object, 7 for a bad name. */
export function readConfiguration(stdin: Uint8Array): Record<string, unknown> & { name: string; cniVersion: string } {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(stdin));
  } catch (error) {
    throw new CniError(codes.decodingFailure, `Cannot read the configuration on stdin: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new CniError(
      codes.decodingFailure,
      `Cannot read the configuration on stdin ${quote(json)}: must be an object`,
    );
  }
  const given = json as Record<string, unknown>;
  const name = anyCase(given, "name");
  if (name === undefined || name === "") throw badConfig("name", name, "the network must have a name");
  if (typeof name !== "string" || !isIdentifier(name)) {
    throw badConfig("name", name, "it must be letters, digits, _, . and -, and begin with a letter or digit");
  }
  if (name.length > 200) throw badConfig("name", name, "it must have at most 200 characters");
  const cniVersion = anyCase(given, "cniVersion") ?? "0.1.0";
  if (typeof cniVersion !== "string")
    throw badConfig("cniVersion", cniVersion, "must be a string", codes.decodingFailure);
  return { ...given, name, cniVersion: cniVersion === "" ? "0.1.0" : cniVersion };
}

/** Go's reading of a key: without regard to case, the last one wins; null counts as absent. */
export function anyCase(json: Record<string, unknown>, key: string): unknown {
  let value: unknown;
  for (const name in json) {
    if (name === key || (name.length === key.length && name.toLowerCase() === key.toLowerCase()))
      value = json[name] ?? value;
  }
  return value;
}

/** Versions from which a verb exists: code 1 otherwise, and for a version that the plugin does not speak. */
export function assertVersion(verb: Verb, version: string, spoken: readonly string[] = versions): void {
  const since = { CHECK: "0.4.0", GC: "1.1.0", STATUS: "1.1.0" }[verb as string];
  if (!spoken.includes(version)) {
    throw new CniError(codes.incompatibleVersion, `Cannot use cniVersion ${quote(version)}: not supported`, {
      details: `supported: ${spoken.join(", ")}`,
    });
  }
  if (since && versions.indexOf(version as any) < versions.indexOf(since as any)) {
    throw new CniError(
      codes.incompatibleVersion,
      `Cannot use cniVersion ${quote(version)}: ${verb} needs ${since} or later`,
    );
  }
}

/**
 * Makes the request that `plugin` is to serve of a verb, the environment and the configuration. With `prevResult`, that of
 * the configuration is not read again.
 */
export function makeRequest<F extends Fields>(
  plugin: Plugin<F>,
  verb: Verb,
  environment: Environment,
  json: Record<string, unknown> & { name: string; cniVersion: string },
  stdin: Uint8Array,
  suite: Suite,
  prevResult?: Result,
): Request<F> {
  return {
    verb,
    containerId: environment.CNI_CONTAINERID ?? "",
    netns: environment.CNI_NETNS ?? "",
    ifname: environment.CNI_IFNAME ?? "",
    args: environment.CNI_ARGS ?? "",
    path: filtered((environment.CNI_PATH ?? "").split(":"), (directory) => directory !== ""),
    cniVersion: json.cniVersion,
    network: json.name,
    // No ADD can have accepted what is wrong here; a DEL that failed of it would leave the pod hanging.
    conf: verb === "DEL" ? readWhatCan(plugin.conf, json, warnOf) : readFields(plugin.conf, json),
    prevResult: prevResult ?? readPrevResult(verb, anyCase(json, "prevResult"), json.cniVersion),
    validAttachments: verb === "GC" ? readAttachments(json) : undefined,
    json,
    stdin,
    environment,
    suite,
    warn,
  };
}

function warnOf(error: unknown): void {
  warn(`${(error as Error).message}; DEL goes on without it`);
}

function warn(text: string): void {
  try {
    writeAll(2, new TextEncoder().encode(`tenon: ${text}\n`));
  } catch {
    // stderr is closed: nobody wants to know.
  }
}

function readPrevResult(verb: Verb, given: unknown, version: string): Result | undefined {
  if (given === undefined) return undefined;
  try {
    return readResult(given, version);
  } catch (error) {
    // A runtime's cache can be cut short or of another version. DEL must succeed all the same: it finds things by name.
    if (verb === "DEL" || verb === "GC" || verb === "STATUS") return undefined;
    throw error;
  }
}

/** The list of the living, and its name in an old draft. */
export const attachmentKeys = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/** Whether the key is there, be it with null. */
export function hasKey(json: Record<string, unknown>, key: string): boolean {
  return Object.keys(json).some((name) => name.toLowerCase() === key.toLowerCase());
}

function readAttachments(json: Record<string, unknown>): Attachment[] | undefined {
  const key = "cni.dev/valid-attachments";
  const given = anyCase(json, key) ?? anyCase(json, "cni.dev/attachments");
  // libcni writes null where a runtime knows of none, as after a boot.
  if (given === undefined) return attachmentKeys.some((name) => hasKey(json, name)) ? [] : undefined;
  if (!Array.isArray(given)) throw badConfig(key, given, "must be a list");
  return given.map((one, at) => {
    if (typeof one !== "object" || one === null) throw badConfig(`${key}[${at}]`, one, "must be an object");
    const containerId = anyCase(one, "containerID");
    const ifname = anyCase(one, "ifname");
    if (typeof containerId !== "string") throw badConfig(`${key}[${at}].containerID`, containerId, "must be a string");
    if (typeof ifname !== "string") throw badConfig(`${key}[${at}].ifname`, ifname, "must be a string");
    return { containerId, ifname };
  });
}
