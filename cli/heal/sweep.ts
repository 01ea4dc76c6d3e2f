// The sweep: finds what dead attachments have left on this host, and has the plugins remove it. In two steps: a look, which
// changes nothing and can be shown to people, and the removal of what the look called dead.
import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { labelOf } from "../../lib/cni/identity.ts";
import { livingAddresses } from "../../lib/ipam/living.ts";
import { toNumber } from "../../lib/ipam/ranges.ts";
import { parseIp } from "../../lib/netlink/inet.ts";
import { clock } from "../../lib/sys/libc.ts";
import { type Attachment, Caches } from "./attachments.ts";
import { anySteps, type Detachable, detach } from "./detach.ts";
import { type Found, findAll } from "./found.ts";
import { knownIds, type Runtime, usual } from "./runtimes.ts";
import { decide, type Memory, type Suspect, type Verdict } from "./verdict.ts";

export interface Options {
  /** Default: those of the usual ones that are here, or have been seen here before. */
  runtimes?: readonly Runtime[];
  /** Folders of host-local's reservations. */
  dataDirs?: readonly string[];
  /** Folders of plugins. */
  plugins?: readonly string[];
  /** File in which is remembered who has been silent since when. */
  state?: string;
  /** The addresses in use in all namespaces; default: this process looks into them itself. */
  living?(): ReadonlySet<bigint> | Promise<ReadonlySet<bigint>>;
  /** Milliseconds of a clock that does not stop or go back before the next boot. */
  now?(): number;
}

export interface Report extends Verdict {
  /** Everything of attachments that was found. */
  found: Found[];
  suspects: Suspect[];
}

const defaults = {
  dataDirs: ["/var/lib/cni/networks"],
  plugins: ["/opt/cni/bin"],
  state: "/var/lib/tenon/sweep.json",
  now: () => clock(7) / 1e6,
};

const kept = z.object({ boot: z.string(), silent: z.record(z.string(), z.number()), runtimes: z.array(z.string()) });

/** Looks; what was seen is remembered unless `dry`. */
export async function look(options: Options = {}, dry = false): Promise<Report> {
  const { dataDirs, state, now } = { ...defaults, ...options };
  const before = await recall(state);
  const runtimes = options.runtimes ?? (await here(before.runtimes));
  const problems: string[] = runtimes.length === 0 ? ["Cannot find a container runtime on this host"] : [];
  const { attachments, ids } = await ask(runtimes, problems);
  let found: Found[] = [];
  let living: ReadonlySet<bigint> = new Set();
  try {
    found = [...(await findAll(dataDirs)).values()];
    living = await (options.living ?? livingAddresses)();
  } catch (error) {
    problems.push((error as Error).message);
  }
  const labels = new Set(attachments.map(({ label }) => label));
  const cached = new Set(attachments.map(({ containerId }) => containerId));
  const suspects = found.map((one): Suspect => {
    const alive = signOfLife(one, { labels, cached, ids, living });
    return alive === undefined ? { label: one.label } : { label: one.label, alive };
  });
  const verdict = decide(suspects, before.silent, now(), problems);
  // What a configuration names need not be remembered: there it is asked for in any case.
  const named = options.runtimes ? [] : runtimes.map(({ name }) => name);
  if (!dry) await remember(state, verdict.memory, [...new Set([...before.runtimes, ...named])]);
  return { ...verdict, found, suspects };
}

/** What speaks for an attachment's being alive. */
function signOfLife(
  { label, id, linked, addresses }: Found,
  known: { labels: Set<string>; cached: Set<string>; ids: Set<string>; living: ReadonlySet<bigint> },
): string | undefined {
  if (known.labels.has(label)) return "its runtime remembers it";
  if (!id) return "nothing tells whose it is";
  if (known.cached.has(id.containerId)) return "its runtime remembers the container";
  if (known.ids.has(id.containerId)) return "its runtime knows the container";
  if (linked) return "its link leads to a namespace";
  const address = addresses.find((address) => known.living.has(toNumber(parseIp(address)!)));
  return address === undefined ? undefined : `${address} is in use in a namespace`;
}

/** What all runtimes know. Who cannot be asked, and who knows nothing, is a problem. */
async function ask(runtimes: readonly Runtime[], problems: string[]) {
  const caches = new Caches(runtimes.map(({ cache }) => cache));
  const attachments: Attachment[] = [];
  const ids = new Set<string>();
  for (const folder of caches.folders) {
    const { attachments: some, problem } = await caches.readFolder(folder);
    if (problem) problems.push(problem);
    else if (some.length === 0) problems.push(`${folder} is empty`);
    attachments.push(...some);
  }
  let asked = 0;
  for (const runtime of runtimes) {
    try {
      const known = await knownIds(runtime);
      if (!known) continue;
      asked++;
      if (known.size === 0 && runtime.socket) problems.push(`${runtime.name} knows of no pod`);
      for (const id of known) ids.add(id);
    } catch (error) {
      problems.push(`${runtime.name}: ${(error as Error).message}`);
    }
  }
  if (asked > 0 && ids.size === 0) problems.push("no runtime knows of any container");
  return { attachments, ids };
}

/** The usual runtimes that are here, or were seen here before: one that has vanished is missing, not absent. */
async function here(before: readonly string[]): Promise<Runtime[]> {
  const there = await Promise.all(
    usual.map(
      ({ name, socket, storage }) => before.includes(name) || stat(socket ?? storage ?? "").then(Boolean, () => false),
    ),
  );
  return usual.filter((_, at) => there[at]);
}

/** Removes what the report called dead; says of each what it was, and what of it failed. */
export async function sweep(report: Report, options: Options = {}): Promise<{ label: string; failure?: string }[]> {
  const { dataDirs, plugins } = { ...defaults, ...options };
  const done: { label: string; failure?: string }[] = [];
  for (const label of report.dead) {
    const found = report.found.find((one) => one.label === label);
    if (!found?.id) continue;
    const { network, containerId, ifname } = found.id;
    if (labelOf(network, containerId, ifname) !== label) continue;
    const gone: Detachable = { network, containerId, ifname, args: "", steps: anySteps(network, dataDirs) };
    try {
      await detach(gone, plugins);
      done.push({ label });
    } catch (error) {
      done.push({ label, failure: (error as Error).message });
    }
  }
  return done;
}

async function recall(state: string): Promise<{ silent: Memory; runtimes: string[] }> {
  try {
    const { boot, silent, runtimes } = kept.parse(JSON.parse(await readFile(state, "utf8")));
    // The clock begins anew with each boot.
    return { silent: boot === (await bootId()) ? silent : {}, runtimes };
  } catch {
    return { silent: {}, runtimes: [] }; // none yet, or unreadable: the time begins anew
  }
}

async function remember(state: string, silent: Memory, runtimes: string[]): Promise<void> {
  await mkdir(dirname(state), { recursive: true, mode: 0o700 });
  const temporary = `${state}.${process.pid}`;
  await writeFile(temporary, JSON.stringify({ boot: await bootId(), silent, runtimes }), { mode: 0o600 });
  await rename(temporary, state);
}

const bootId = async () => (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
