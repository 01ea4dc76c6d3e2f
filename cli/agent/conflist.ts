// The conflist that runtimes read, made from a template once the node's paths are in place.
// Placeholders stand inside strings, so that a template is JSON itself. A string that is nothing but one placeholder becomes
// what that stands for, a list for instance; inside a longer string it must stand for text.
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { quote } from "../../lib/cni/errors.ts";
import { type Paths, pathsOf } from "../../lib/peers/conf.ts";

/** What placeholders stand for. */
export interface Facts {
  node: string;
  network: string;
  /** The node's own networks of pods. */
  subnets: readonly string[];
  /** Those of all nodes together. */
  cluster: readonly string[];
}

export interface Conflist {
  name: string;
  plugins: Record<string, unknown>[];
}

function valuesOf({ node, network, subnets, cluster }: Facts): Record<string, unknown> {
  return {
    node,
    network,
    podSubnets: subnets,
    podSubnet4: subnets.find((subnet) => !subnet.includes(":")),
    podSubnet6: subnets.find((subnet) => subnet.includes(":")),
    podRanges: subnets.map((subnet) => [{ subnet }]),
    clusterCidrs: cluster,
  };
}

/** The conflist of a template. Throws what is wrong with it, naming the file. */
export function renderConflist(template: string, file: string, facts: Facts): Conflist {
  const wrong = (why: string, cause?: unknown) => new Error(`Cannot use the template "${file}": ${why}`, { cause });
  let json: unknown;
  try {
    json = JSON.parse(template);
  } catch (error) {
    throw wrong((error as Error).message, error);
  }
  const values = valuesOf(facts);
  const standsFor = (name: string): unknown => {
    if (!Object.hasOwn(values, name)) throw wrong(`{{${name}}} is none of ${Object.keys(values).join(", ")}`);
    if (values[name] === undefined) throw wrong(`this node has nothing for {{${name}}}`);
    return values[name];
  };
  const fill = (value: unknown): unknown => {
    if (typeof value === "string") {
      const whole = /^\{\{(\w+)\}\}$/.exec(value);
      if (whole) return standsFor(whole[1]!);
      return value.replace(/\{\{(\w+)\}\}/g, (_, name) => {
        const text = standsFor(name);
        if (typeof text !== "string") throw wrong(`{{${name}}} is a list, which must be a string's only content`);
        return text;
      });
    }
    if (Array.isArray(value)) return value.map(fill);
    if (value !== null && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, fill(one)]));
    return value;
  };
  const conflist = fill(json) as Partial<Conflist>;
  if (conflist?.name !== facts.network)
    throw wrong(`its name must be the network's, ${quote(facts.network)}, and is ${quote(conflist?.name)}`);
  const { plugins } = conflist;
  const isPlugin = (one: unknown) => typeof (one as { type?: unknown } | null)?.type === "string";
  if (!Array.isArray(plugins) || plugins.length === 0 || !plugins.every(isPlugin))
    throw wrong('"plugins" must be a list of plugins, each with its "type"');
  return conflist as Conflist;
}

/** What leads to other nodes, by the conflist: one entry at most. Throws what the plugins would. */
export function pathsIn({ name, plugins }: Conflist): Paths[] {
  const paths = plugins.flatMap((entry) => pathsOf(name, entry) ?? []);
  // Each would take away what the other one has put into the kernel.
  if (paths.length > 1)
    throw new Error(
      'Cannot use "vxlan" and "routes" in one network: "routes" with offSubnet "overlay", or "vxlan" with directRouting, is both',
    );
  return paths;
}

/**
 * Puts the conflist in place, if it is not there as it should be: at once and whole, and on the disk. The draft beside it has
 * a name that no runtime takes for a configuration. True if there was something to do.
 */
export async function writeConflist(conflist: Conflist, to: string): Promise<boolean> {
  const text = `${JSON.stringify(conflist, null, 2)}\n`;
  const there = await readFile(to, "utf8").catch(() => undefined);
  if (there === text) return false;
  await mkdir(dirname(to), { recursive: true });
  const draft = join(dirname(to), `.${basename(to)}.draft`);
  try {
    await using file = await open(draft, "w", 0o644);
    await file.writeFile(text);
    await file.sync();
    await rename(draft, to);
  } catch (error) {
    await rm(draft, { force: true });
    throw new Error(`Cannot write "${to}": ${(error as Error).message}`, { cause: error });
  }
  return true;
}
