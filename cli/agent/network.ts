// One network of the node: from the source's list of nodes to the conflist, always in this order: subnets known, kernel
// programmed, snapshot written, conflist in place. What is in the kernel is never taken back by the agent's end.
import { existsSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import type { Namespace } from "../../lib/netns/netns.ts";
import type { Paths } from "../../lib/peers/conf.ts";
import { publish, repair } from "../../lib/peers/network.ts";
import { type PeerNode, peersPath, type Snapshot, selfOf, writeSnapshot } from "../../lib/peers/snapshot.ts";
import { stampOf } from "../../lib/peers/stamp.ts";
import { type Conflist, pathsIn, renderConflist, writeConflist } from "./conflist.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { rest } from "./rest.ts";
import type { NetworkSettings } from "./settings.ts";
import type { Source } from "./source.ts";
import type { NetworkState } from "./task.ts";

export interface Circumstances {
  node: string;
  /** Seconds; see settings. */
  intervals: { settle: number };
  ns: Namespace;
  metrics: Metrics;
  log: Log;
}

/** Milliseconds until failed programming is tried again, at first and at most. */
const [SOON, LATE] = [1000, 30_000];

export class Network implements NetworkState {
  readonly name: string;
  plugins: readonly Record<string, unknown>[] = [];
  paths: readonly Paths[] = [];
  /** The one that the kernel was told last. */
  snapshot: Snapshot | undefined;
  readonly #settings: NetworkSettings;
  readonly #source: Source;
  readonly #with: Circumstances;
  /** The source's last word, and when it came. */
  #nodes: readonly PeerNode[] | undefined;
  #came = 0;
  /** Whether the kernel is as `snapshot` says, as far as this process knows. */
  #sound = false;
  #isReady = false;
  #trouble: string | undefined = "the source has not answered yet";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #last = Number.NEGATIVE_INFINITY;
  #wait = SOON;
  #tries = 0;
  #stopped = false;
  /** Steps that wait for the disk, one after the other. */
  #work: Promise<void> = Promise.resolve();

  constructor(settings: NetworkSettings, source: Source, circumstances: Circumstances) {
    this.name = settings.name;
    this.#settings = settings;
    this.#source = source;
    this.#with = circumstances;
  }

  /** What it still waits for; undefined when pods can be attached. */
  get missing(): string | undefined {
    return this.#isReady ? undefined : (this.#trouble ?? "it is being programmed");
  }

  /** What is wrong at the moment, ready or not. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  async start(): Promise<void> {
    const { metrics, log } = this.#with;
    const label = { network: this.name };
    metrics.ready.set(label, 0);
    metrics.connected.set(label, 0);
    metrics.events.inc(label, 0);
    metrics.refused.inc(label, 0);
    metrics.failures.inc(label, 0);
    // After a reboot a conflist of the days before would invite pods that no path leads to yet.
    const snapshot = stampOf(this.name)?.paths.file ?? peersPath(this.name);
    if (!existsSync(snapshot)) await rm(this.#settings.conflist.to, { force: true });
    this.#source.start({
      nodes: (nodes) => {
        if (this.#stopped) return;
        if (this.#nodes === undefined || this.#timer === undefined) this.#came = performance.now();
        this.#nodes = nodes;
        metrics.events.inc(label);
        this.#schedule();
      },
      trouble: (text) => {
        metrics.connected.set(label, text === undefined ? 1 : 0);
        if (!this.#isReady) this.#trouble = text ?? "the source has not told of any nodes yet";
        log.trouble(`${this.name}: source`, text);
      },
      refused: (text) => {
        metrics.refused.inc(label);
        log.say(`${this.name}: passed over ${text}`);
      },
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#source.stop();
    await this.#work;
  }

  /** The template is read anew. */
  reload(): void {
    if (this.#nodes) this.#apply();
  }

  /** Compares everything with the kernel, brings back what is missing. */
  repair(): void {
    if (this.#nodes) this.#apply(this.#sound);
    else this.#mend();
  }

  /** The source has said nothing since the agent began: what was programmed before then goes on holding. */
  #mend(): void {
    const { ns, metrics, log } = this.#with;
    try {
      const paths = stampOf(this.name)?.paths;
      const { repaired } = paths ? repair(ns, paths) : { repaired: 0 };
      if (repaired > 0) metrics.repairs.inc({ network: this.name, kind: "path" }, repaired);
    } catch (error) {
      log.say(`${this.name}: ${(error as Error).message}`);
    }
  }

  /** At once after a pause; taken together while news keep coming. */
  #schedule(): void {
    // What waits while the kernel is right is the next try of a conflist, which news need not wait for.
    if (this.#timer !== undefined && !this.#sound) return;
    clearTimeout(this.#timer);
    const { settle } = this.#with.intervals;
    const since = performance.now() - this.#last;
    const delay = this.#sound || !this.snapshot ? Math.max(0, settle * 1000 - since) : this.#wait;
    if (delay <= 0) this.#apply();
    else this.#timer = setTimeout(() => this.#apply(), delay);
  }

  /** Brings the last list into the kernel: what differs from the one before; everything if that is not known, or to repair. */
  #apply(isRepair = false): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#stopped || !this.#nodes) return;
    const { node, metrics } = this.#with;
    const label = { network: this.name };
    const before = this.#sound && !isRepair ? this.snapshot : undefined;
    const tries = ++this.#tries;
    try {
      const snapshot: Snapshot = { version: 1, network: this.name, self: node, nodes: [...this.#nodes] };
      const conflist = this.#render(snapshot);
      this.#sound = false;
      this.#program(snapshot, before, isRepair);
      this.snapshot = snapshot;
      this.#sound = true;
      metrics.programming.observe(label, (performance.now() - this.#came) / 1000);
      this.#came = performance.now();
      metrics.peers.set(label, snapshot.nodes.length - 1);
      this.#last = performance.now();
      this.#finish(conflist, tries);
      rest();
    } catch (error) {
      this.#fail((error as Error).message);
    }
  }

  #fail(text: string): void {
    const { metrics, log } = this.#with;
    metrics.failures.inc({ network: this.name });
    this.#trouble = text;
    log.trouble(this.name, text);
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    this.#timer = setTimeout(() => this.#apply(), this.#wait);
    this.#wait = Math.min(this.#wait * 2, LATE);
  }

  #render(snapshot: Snapshot): Conflist {
    const { template } = this.#settings.conflist;
    const conflist = renderConflist(readFileSync(template, "utf8"), template, {
      node: snapshot.self,
      network: this.name,
      subnets: selfOf(snapshot).subnets,
      cluster: this.#settings.cluster.map(({ cidr }) => cidr),
    });
    this.plugins = conflist.plugins;
    this.paths = pathsIn(conflist);
    return conflist;
  }

  #program(snapshot: Snapshot, before: Snapshot | undefined, isRepair: boolean): void {
    const { ns, metrics } = this.#with;
    const label = { network: this.name };
    // Pods of one node alone need no path; whoever asks for the nodes finds them all the same.
    if (this.paths.length === 0) writeSnapshot(snapshot);
    const problems: string[] = [];
    for (const paths of this.paths) {
      const changes = publish(ns, paths, snapshot, before);
      for (const change of ["added", "removed"] as const)
        if (changes[change] > 0) metrics.changes.inc({ ...label, change }, changes[change]);
      const repaired = changes.repaired + (isRepair ? changes.added : 0);
      if (repaired > 0) {
        metrics.repairs.inc({ ...label, kind: "path" }, repaired);
        this.#with.log.say(`${this.name}: put back ${repaired} that others had taken away or changed`);
      }
      problems.push(...changes.problems);
    }
    metrics.unreachable.set(label, problems.length);
    this.#with.log.trouble(`${this.name}: nodes`, problems.length > 0 ? someOf(problems) : undefined);
  }

  /** Last of all, as this is what lets pods come. */
  #finish(conflist: Conflist, tries: number): void {
    const { to } = this.#settings.conflist;
    const { metrics, log } = this.#with;
    this.#work = this.#work.then(async () => {
      try {
        if (await writeConflist(conflist, to)) log.say(`${this.name}: wrote ${to}`);
        // Unless another try began meanwhile, and has its own end.
        if (tries === this.#tries) {
          this.#wait = SOON;
          this.#trouble = undefined;
          log.trouble(this.name, undefined);
        }
        if (!this.#isReady) log.say(`${this.name}: ready`);
        this.#isReady = true;
        metrics.ready.set({ network: this.name }, 1);
      } catch (error) {
        this.#fail((error as Error).message);
      }
    });
  }
}

function someOf(problems: readonly string[]): string {
  const more = problems.length - 3;
  return problems.slice(0, 3).join("; ") + (more > 0 ? `; and ${more} more` : "");
}
