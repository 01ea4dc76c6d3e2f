// Keeps what is ours on this host as it is wanted: hears from the kernel what was taken away, finds out whose it is, and has it
// made again. The agent runs this. What our own plugins take away is no concern of ours: nftables tells the program's name,
// and of a link that is gone the runtime says a moment later whether it has forgotten its attachment, or its pod is gone.
import { suite } from "../../build/plugins.ts";
import type { Part } from "../../lib/cni/request.ts";
import { findLink } from "../../lib/ip/link.ts";
import { isPodThere } from "../../lib/ip/replug.ts";
import { host } from "../../lib/netns/netns.ts";
import type { Paths } from "../../lib/peers/conf.ts";
import type { Snapshot } from "../../lib/peers/snapshot.ts";
import { type Anchor, dropAnchor } from "./anchor.ts";
import { repairApart } from "./apart.ts";
import { type Attachment, Caches } from "./attachments.ts";
import { detach } from "./detach.ts";
import type { Event } from "./events.ts";
import { Fights, firstRest } from "./fights.ts";
import { Inventory } from "./inventory.ts";
import { Peers } from "./peers.ts";
import { isKnown, keyOf, type Repair, repairAll, repairParts } from "./repair.ts";
import { forgetUnhidden } from "./unhidden.ts";
import { type Watch, watchKernel } from "./watch.ts";

export interface Options {
  /** Folders of the runtimes' results. */
  caches: readonly string[];
  /** Brings back a network's paths to other nodes; default: by what its snapshot says. */
  mend?(paths: Paths): void;
  /** The paths of networks that are programmed, whether stamps say so or not. */
  networks?(): readonly Paths[];
  /** A network's snapshot as it was programmed, for who has it in memory; default: the one in its file. */
  snapshot?(paths: Paths): Snapshot | undefined;
  /** An attachment that was repaired while its runtime took it down: whatever of it is left goes. Default: by DEL. */
  forsake?(attachment: Attachment): Promise<void>;
  log?(text: string): void;
  /** After each pass. */
  rest?(): void;
  /** After each repair that did its work, for counting. */
  repaired?(repair: Repair): void;
  /** Milliseconds from the first news to the work, so that what belongs together is one pass. */
  gather?: number;
  /** Milliseconds after which everything is looked at though nothing was heard. */
  every?: number;
  /** Keep connections alive while rules are missing (anchor.ts); default: yes. */
  anchor?: boolean;
  /** Bytes for news that wait. */
  room?: number;
}

export interface Counters {
  /** Parts that were brought back, by kind. */
  repairs: Record<string, number>;
  /** Attempts to bring something back that did not. */
  failures: number;
  /** Times that news was lost, after which everything was looked at. */
  lost: number;
  /** Times that anything was looked at. */
  passes: number;
}

export interface Healing {
  readonly counters: Readonly<Counters>;
  /** Looks at everything now. */
  lookAtAll(): Promise<void>;
  /** Ends it; what is under way is finished. */
  stop(): Promise<void>;
}

/** A transaction of these programs is an attachment being made or taken down. */
const ownPrograms = new Set([...Object.keys(suite), "tenon-cni", "tenon"]);
/** How long after a repair it is looked whether the attachment is still wanted. */
const watched = 30_000;
/** How long a DEL that has removed the link may take to end, and its runtime to forget the attachment. */
const settled = 150;
/** Looks after a link was made again: a DEL that was slower than that leaves it for as long at most. */
const secondLooks = [100, 250, 500, 1000, 2000, 5000];

/** Starts healing; everything is looked at once before it returns. */
export async function startHealing(options: Options): Promise<Healing> {
  const healer = new Healer(options);
  await healer.start();
  return healer;
}

class Healer implements Healing {
  readonly counters: Counters = { repairs: {}, failures: 0, lost: 0, passes: 0 };
  readonly #options: Options;
  readonly #caches: Caches;
  readonly #fights = new Fights();
  readonly #peers: Peers;
  #anchor: Anchor | undefined;
  #watch: Watch | undefined;
  #events: Event[] = [];
  #everything = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #regular: ReturnType<typeof setInterval> | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;
  /** What rests, by attachment or network; and what was repaired a short while ago. */
  readonly #resting = new Map<string, string>();
  readonly #touched = new Map<string, { attachment: Attachment; since: number }>();
  /** What is repaired by another process now, by label; and what was heard of meanwhile. */
  readonly #apart = new Map<string, Promise<void>>();
  readonly #again = new Set<string>();

  constructor(options: Options) {
    this.#options = options;
    this.#caches = new Caches(options.caches);
    this.#peers = new Peers(options);
  }

  async start(): Promise<void> {
    const { room, every = 300_000 } = this.#options;
    const listener = {
      heard: (events: Event[]) => this.#hear(events),
      lost: () => {
        this.counters.lost++;
        this.#everything = true;
        this.#schedule();
      },
    };
    if (this.#options.anchor ?? true) this.#anchor = dropAnchor();
    const refused = this.#anchor?.refused;
    if (refused) this.#options.log?.(`Connections do not outlive a flushed ruleset: ${refused}`);
    this.#watch = await watchKernel(listener, room);
    await this.lookAtAll();
    this.#regular = setInterval(() => void this.lookAtAll(), every);
  }

  async lookAtAll(): Promise<void> {
    this.#everything = true;
    await this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#watch?.stop();
    this.#anchor?.close();
    clearTimeout(this.#timer);
    clearInterval(this.#regular);
    await this.#running;
    await Promise.all(this.#apart.values());
  }

  #hear(events: Event[]): void {
    let some = false;
    for (const event of events) {
      if (event.of === "nftables" && ownPrograms.has(event.program)) continue;
      this.#events.push(event);
      some = true;
    }
    if (some) this.#schedule();
  }

  #schedule(after = this.#options.gather ?? 30): void {
    if (this.#stopped || this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#run();
    }, after);
  }

  /** One pass at a time; what is heard meanwhile is for the next one. */
  async #run(): Promise<void> {
    while (this.#running) await this.#running;
    if (this.#stopped) return;
    this.#running = this.#pass()
      .catch((error) => this.#options.log?.(`Cannot repair: ${(error as Error).message}`))
      .finally(() => {
        this.#running = undefined;
        this.#peers.forget();
        this.#options.rest?.();
      });
    await this.#running;
  }

  async #pass(): Promise<void> {
    const events = this.#events.splice(0);
    const everything = this.#everything;
    this.#everything = false;
    const inventory = new Inventory((await this.#caches.read()).attachments);
    this.#peers.refresh();
    const wanted = new Set<Attachment>(everything ? inventory.all : []);
    const networks = this.#peers.affected(events, everything);
    for (const event of events) {
      if (everything) break;
      for (const one of inventory.affected(event, (index) => findLink(host, index)?.name)) wanted.add(one);
    }
    const now = performance.now();
    for (const [key, label] of this.#resting) {
      if (this.#fights.isResting(key, now)) continue;
      this.#resting.delete(key);
      for (const one of inventory.all) if (one.label === label) wanted.add(one);
      networks.add(label);
    }
    for (const label of this.#again) {
      if (this.#apart.has(label)) continue;
      this.#again.delete(label);
      for (const one of inventory.all) if (one.label === label) wanted.add(one);
    }
    if (wanted.size > 0 || networks.size > 0 || everything) {
      this.counters.passes++;
      const skip = (part: Part) => this.#fights.isResting(keyOf(part), performance.now());
      // Paths first: their devices are what pods' packets leave by.
      this.#note(repairParts(this.#peers.parts(everything ? undefined : networks), { skip }));
      const hidden: Attachment[] = [];
      const handOver = (some: readonly Attachment[]) => this.#repairApart(some);
      await repairAll([...wanted], { skip, handOver }, (repairs, one) => {
        this.#note(repairs, one);
        if (repairs.some(({ kind, failure }) => kind === "masquerade" && failure === undefined)) hidden.push(one);
      });
      const forgotten = hidden.length > 0 ? forgetUnhidden(hidden) : 0;
      if (forgotten > 0) this.#options.log?.(`Connections that were not masqueraded begin anew: ${forgotten}`);
    }
    await this.#lookBack();
    const next = this.#fights.next(performance.now());
    if (next !== undefined) setTimeout(() => this.#schedule(), next + 1).unref();
  }

  /** Has another process make what lies in pods, as this one enters none; other passes go on meanwhile. */
  #repairApart(attachments: readonly Attachment[]): void {
    const some = attachments.filter((one) => {
      if (!this.#apart.has(one.label)) return true;
      this.#again.add(one.label);
      return false;
    });
    if (some.length === 0) return;
    const work = async () => {
      await Bun.sleep(settled);
      const known = await Promise.all(some.map(isKnown));
      const left = some.filter((one, at) => known[at] && isPodThere(one.result, one.ifname));
      if (left.length === 0 || this.#stopped) return;
      try {
        for (const [one, repairs] of await repairApart(left)) this.#note(repairs, one);
        for (const look of secondLooks) setTimeout(() => this.#schedule(0), look).unref();
      } catch (error) {
        const failure = (error as Error).message;
        for (const one of left) this.#note([{ kind: "link", name: one.hostName, why: "it is gone", failure }], one);
      }
    };
    const done = work().finally(() => {
      for (const { label } of some) this.#apart.delete(label);
      if (this.#again.size > 0) this.#schedule();
    });
    for (const { label } of some) this.#apart.set(label, done);
  }

  #note(repairs: readonly Repair[], attachment?: Attachment): void {
    const { log, repaired } = this.#options;
    const now = performance.now();
    for (const repair of repairs) {
      const { kind, name, why, failure } = repair;
      const key = keyOf(repair);
      const rest = this.#fights.note(key, now, failure !== undefined);
      if (rest > 0) this.#resting.set(key, attachment?.label ?? name);
      if (failure === undefined) {
        this.counters.repairs[kind] = (this.counters.repairs[kind] ?? 0) + 1;
        repaired?.(repair);
        if (rest === 0) log?.(`${kind} ${name} is back: ${why}`);
      } else this.counters.failures++;
      if (rest !== firstRest) continue; // said already, or nothing to say
      log?.(
        failure === undefined
          ? `Something takes ${kind} ${name} away again and again: it is brought back at longer intervals`
          : `Cannot bring ${kind} ${name} back: ${failure}`,
      );
    }
    // None: something was tried.
    if (attachment && (repairs.length === 0 || repairs.some(({ failure }) => failure === undefined))) {
      this.#touched.set(attachment.label, { attachment, since: now });
      setTimeout(() => this.#schedule(), watched).unref();
    }
  }

  /**
   * A runtime may have begun to take an attachment down just before it was repaired. Its plugins do not come by again, so that
   * what was brought back behind them would stay.
   */
  async #lookBack(): Promise<void> {
    for (const [label, { attachment, since }] of this.#touched) {
      if (await isKnown(attachment)) {
        if (performance.now() - since > watched) this.#touched.delete(label);
        else if (!findLink(host, attachment.hostName)) setTimeout(() => this.#schedule(), 500).unref();
        continue;
      }
      this.#touched.delete(label);
      try {
        const { forsake = (gone) => detach(gone, ["/opt/cni/bin"]) } = this.#options;
        await forsake(attachment);
      } catch (error) {
        this.#options.log?.(`Cannot remove what is left of ${label}: ${(error as Error).message}`);
      }
    }
  }
}
