// The attachments of this node, as the runtimes' libraries remember them: one file each in a folder of results, written after
// ADD and removed after DEL. Read only. Format: "cniCacheV1" of libcni, containernetworking/cni libcni/api.go (cachedInfo).
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { hostLinkName, labelOf } from "../../lib/cni/identity.ts";
import { anyCase } from "../../lib/cni/request.ts";
import { type Result, readResult } from "../../lib/cni/result.ts";

/** One plugin of the list that made an attachment, with all that it needs to be asked about it. */
export interface Step {
  type: string;
  /** Its configuration as a runtime would put it together: with name, version, capabilities and the last result. */
  json: Record<string, unknown> & { name: string; cniVersion: string };
}

export interface Attachment {
  network: string;
  containerId: string;
  ifname: string;
  label: string;
  /** The host's end of its link, if it is of our making. */
  hostName: string;
  /** CNI_ARGS. */
  args: string;
  steps: Step[];
  result: Result;
  /** The file that tells of it. */
  file: string;
}

/** What a folder of results holds. `problem`: why it tells nothing, or not all. */
export interface Cache {
  attachments: Attachment[];
  problem?: string;
}

const cached = z.object({
  kind: z.literal("cniCacheV1"),
  containerId: z.string(),
  config: z.base64(),
  ifName: z.string(),
  networkName: z.string(),
  cniArgs: z.array(z.tuple([z.string(), z.string()])).nullish(),
  capabilityArgs: z.record(z.string(), z.unknown()).nullish(),
  result: z.record(z.string(), z.unknown()),
});

const plugin = z.looseObject({ type: z.string(), capabilities: z.record(z.string(), z.unknown()).nullish() });
const list = z.looseObject({ plugins: z.array(plugin) });

/** Reads one file of a folder of results. Throws what is wrong with it. */
export function readAttachment(text: string, file: string): Attachment {
  const { containerId, config, ifName: ifname, networkName: network, ...rest } = cached.parse(JSON.parse(text));
  const whole = JSON.parse(Buffer.from(config, "base64").toString());
  // A list, or the configuration of a single plugin, which is how podman asks for some.
  const plugins = whole.plugins === undefined ? [plugin.parse(whole)] : list.parse(whole).plugins;
  const cniVersion = `${anyCase(whole, "cniVersion") || "0.1.0"}`;
  const steps = plugins.map(({ type, ...conf }): Step => {
    const asked = Object.entries(rest.capabilityArgs ?? {}).filter(([name]) => conf.capabilities?.[name] === true);
    const runtimeConfig = asked.length > 0 ? { runtimeConfig: Object.fromEntries(asked) } : {};
    return { type, json: { ...conf, type, name: network, cniVersion, ...runtimeConfig, prevResult: rest.result } };
  });
  return {
    network,
    containerId,
    ifname,
    label: labelOf(network, containerId, ifname),
    hostName: hostLinkName(network, containerId, ifname),
    args: (rest.cniArgs ?? []).map((pair) => pair.join("=")).join(";"),
    steps,
    result: readResult(rest.result, cniVersion, "result"),
    file,
  };
}

/** Whether this suite made the attachment's link: then its other end bears a name of ours. */
export function isOurs({ result, hostName }: Attachment): boolean {
  return result.interfaces?.some(({ name, sandbox }) => name === hostName && !sandbox) ?? false;
}

/** A folder whose time is as old as this when it is read cannot have changed unseen since: times are coarse. */
const settled = 1000;

/** Folders of results, read again only where something changed. */
export class Caches {
  readonly folders: readonly string[];
  readonly #known = new Map<string, { changed: number; attachment?: Attachment; problem?: string }>();
  readonly #read = new Map<string, { changed: number; cache: Cache }>();

  constructor(folders: readonly string[]) {
    this.folders = [...new Set(folders)];
  }

  /** What all folders hold now. */
  async read(): Promise<Cache> {
    const all = await Promise.all(this.folders.map((folder) => this.readFolder(folder)));
    const problems = all.flatMap(({ problem }) => problem ?? []);
    return {
      attachments: all.flatMap(({ attachments }) => attachments),
      ...(problems.length > 0 ? { problem: problems.join("; ") } : {}),
    };
  }

  /** What one folder holds now. */
  async readFolder(folder: string): Promise<Cache> {
    let names: string[];
    let changed: number;
    const now = Date.now();
    try {
      changed = (await stat(folder)).mtimeMs;
      const before = this.#read.get(folder);
      if (before?.changed === changed) return before.cache;
      names = await readdir(folder);
    } catch (error) {
      this.#read.delete(folder);
      return { attachments: [], problem: `Cannot read ${folder}: ${(error as Error).message}` };
    }
    const files = names.map((name) => join(folder, name));
    const seen = new Set(files);
    for (const file of this.#known.keys())
      if (file.startsWith(`${folder}/`) && !seen.has(file)) this.#known.delete(file);
    const entries = await Promise.all(files.map((file) => this.#readFile(file)));
    const problems = entries.flatMap((entry) => entry?.problem ?? []);
    const cache: Cache = { attachments: entries.flatMap((entry) => entry?.attachment ?? []) };
    if (problems.length > 0) cache.problem = problems[0];
    // What could not be read is tried again each time.
    if (problems.length === 0 && now - changed > settled) this.#read.set(folder, { changed, cache });
    else this.#read.delete(folder);
    return cache;
  }

  async #readFile(file: string) {
    try {
      const { ctimeMs: changed } = await stat(file);
      const known = this.#known.get(file);
      if (known?.changed === changed) return known;
      const entry = { changed, ...parse(await readFile(file, "utf8"), file) };
      this.#known.set(file, entry);
      return entry;
    } catch (error) {
      if ((error as { code?: string }).code === "ENOENT") return undefined; // DEL was quicker
      return { changed: 0, problem: `Cannot read ${file}: ${(error as Error).message}` };
    }
  }
}

function parse(text: string, file: string): { attachment?: Attachment; problem?: string } {
  try {
    return { attachment: readAttachment(text, file) };
  } catch (error) {
    // libcni writes the file in place, so half of one can be met, and before 1.0.0 it was of another kind.
    const why = error instanceof z.ZodError ? z.prettifyError(error).replaceAll("\n", " ") : (error as Error).message;
    return { problem: `Cannot read ${file}: ${why}` };
  }
}
