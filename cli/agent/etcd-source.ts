// The source `etcd`: nodes in etcd 3, this one registered under a lease. A session joins, takes the list, and follows the
// changes; whatever fails ends it, and the next one goes on from where it was, or from the list where that is not possible.
// Meanwhile what was told goes on holding: a server that is gone takes no routes along.
import type { Etcd3 } from "etcd3";
import type { PeerNode } from "../../lib/peers/snapshot.ts";
import { connect, keepAlive, listPages, PATIENCE, reasonOf, type Seen } from "./etcd.ts";
import type { Layout, Session } from "./layout.ts";
import { type Memory, recall, remember } from "./memory.ts";
import type { EtcdSettings } from "./settings.ts";
import type { Listener, Source } from "./source.ts";

export interface Place {
  settings: EtcdSettings;
  layout: Layout;
  /** The file of what this node remembers. */
  memory: string;
  /** This node but for its subnets; asked again at every heartbeat. */
  self(): Omit<PeerNode, "subnets">;
  say(text: string): void;
}

export function etcdSource(place: Place): Source {
  const { settings, layout, say } = place;
  const terms = { lease: settings.lease, heartbeat: settings.heartbeat };
  const ending = new AbortController();
  let running: Promise<void> | undefined;
  let memory: Memory;
  /** The memory as it is on the disk, and why it is not there as it should be. */
  let kept: string;
  let unkept: string | undefined;
  let seen: Seen | undefined;
  /** By key; in the order in which they came, which does not change with them: neighbours in the list stay so. */
  let records = new Map<string, Recorded>();
  /** Of a store that was replaced: its nodes get time to register in the new one. */
  let former = new Map<string, Recorded>();
  let tell: () => void = () => {};
  /** Clashes that were told of. */
  let known = new Set<string>();
  /** Keys that changed since the nodes were told last; undefined: all, or nobody knows. */
  let changed: Set<string> | undefined;

  function read(to: Map<string, Recorded>, key: string, value: string, revision: number, listener: Listener): void {
    try {
      const node = layout.read(key, value);
      if (node) to.set(key, { node, revision });
      else to.delete(key);
    } catch (error) {
      to.delete(key);
      listener.refused(`"${key}": ${(error as Error).message}`);
    }
  }

  async function list(client: Etcd3, replaced: boolean, listener: Listener): Promise<void> {
    if (replaced) {
      former = new Map([...former, ...records]);
      setTimeout(() => {
        former = new Map();
        changed = undefined;
        tell();
      }, 3000 * terms.heartbeat).unref();
    }
    const before = records;
    const all = new Map<string, Recorded>();
    const revision = await listPages(client, layout.nodes, ({ key, value, mod_revision }) =>
      read(all, key.toString(), value.toString(), Number(mod_revision), listener),
    );
    records = all;
    changed = undefined;
    for (const [key, record] of records) {
      const old = before.get(key)?.node;
      if (old && JSON.stringify(old) === JSON.stringify(record.node)) record.node = old;
    }
    seen = revision;
  }

  /** Follows the changes until something ends it; resolves never. */
  function follow(client: Etcd3, own: string, over: AbortSignal, listener: Listener): Promise<never> {
    return new Promise((_, reject) => {
      const start = seen!.revision + 1n;
      const watcher = client.watch().prefix(layout.nodes).startRevision(`${start}`).watcher();
      const fail = (why: string) => reject(new Error(why));
      const late = setTimeout(() => fail("etcd does not begin to tell of changes"), PATIENCE);
      watcher.on("connected", () => clearTimeout(late));
      const end = () => {
        clearTimeout(late);
        // The client is closed next, and may find that the connection is gone already.
        watcher.cancel().catch(() => {});
      };
      over.addEventListener("abort", end, { once: true });
      watcher.on("data", ({ events, header }) => {
        if (over.aborted) return;
        try {
          let joined = true;
          for (const { type, kv } of events) {
            const key = kv.key.toString();
            changed?.add(key);
            if (type.toString() === "Delete") records.delete(key);
            else read(records, key, kv.value.toString(), Number(kv.mod_revision), listener);
            const revision = BigInt(kv.mod_revision);
            if (revision > seen!.revision) seen!.revision = revision;
            if (key === own) joined = type.toString() !== "Delete";
          }
          // A mere sign of life says that nothing is outstanding; among events the header may run ahead of them.
          if (events.length === 0 && BigInt(header.revision) > seen!.revision) seen!.revision = BigInt(header.revision);
          if (!joined) fail("this node's record was removed");
          else if (events.length > 0) tell();
        } catch (error) {
          fail(reasonOf(error));
        }
      });
      watcher.on("disconnected", (error) => fail(reasonOf(error)));
      watcher.on("error", (error) => {
        // Compacted, most likely: only the list can tell what there is now.
        if (!over.aborted) seen = undefined;
        fail(reasonOf(error));
      });
    });
  }

  async function leaseOf(client: Etcd3): Promise<string> {
    if (memory.lease !== undefined && (await keepAlive(client, memory.lease)) > 0) return memory.lease;
    const { ID } = await client.leaseClient.leaseGrant({ TTL: Math.ceil(terms.lease) });
    return `${ID}`;
  }

  async function join(client: Etcd3, self: Session["self"]): Promise<string> {
    memory.lease = await leaseOf(client);
    const own = await layout.join({ client, lease: memory.lease, terms, memory, self, say });
    await keep();
    return own;
  }

  /**
   * Writes the memory where it has changed. A disk that is full is told of, and the next heartbeat tries again: without the
   * memory the node finds its claim by its name.
   */
  async function keep(): Promise<void> {
    const text = JSON.stringify(memory);
    if (text === kept) return;
    try {
      await remember(place.memory, memory);
      kept = text;
      unkept = undefined;
    } catch (error) {
      const { message } = error as Error;
      if (message !== unkept) say(message);
      unkept = message;
    }
  }

  async function beat(client: Etcd3, self: string): Promise<never> {
    for (;;) {
      await sleep(terms.heartbeat * 1000, ending.signal);
      if ((await keepAlive(client, memory.lease!)) === 0) throw new Error("the lease ran out");
      await keep();
      const now = place.self();
      if (JSON.stringify(now) !== self) throw new Error("this node's addresses changed");
    }
  }

  async function session(listener: Listener): Promise<void> {
    const client = await connect(settings);
    const over = new AbortController();
    try {
      const self = place.self();
      const own = await join(client, self);
      const { header } = await client.get(own).exec();
      const replaced =
        seen !== undefined && (seen.cluster !== `${header.cluster_id}` || BigInt(header.revision) < seen.revision);
      tell = () => {
        if (!records.has(own)) return;
        // Among thousands, it is quick to see that one which has changed clashes with none.
        if (changed && known.size === 0 && former.size === 0 && standAlone(changed, records)) {
          changed.clear();
          listener.nodes(Array.from(records.values(), ({ node }) => node));
          return;
        }
        const clashes = new Set<string>();
        const nodes = withoutClashes(records, former, own, (text) => clashes.add(text));
        for (const text of clashes) if (!known.has(text)) listener.refused(text);
        known = clashes;
        changed = new Set();
        listener.nodes(nodes);
      };
      if (seen === undefined || replaced) await list(client, replaced, listener);
      listener.trouble(undefined);
      // Told even where nothing is new: this node's own record may be.
      const followed = follow(client, own, over.signal, listener);
      followed.catch(() => {});
      tell();
      await Promise.race([followed, beat(client, JSON.stringify(self))]);
    } finally {
      over.abort();
      client.close();
    }
  }

  return {
    start(listener) {
      running = (async () => {
        memory = await recall(place.memory);
        kept = JSON.stringify(memory);
        for (let wait = 100; !ending.signal.aborted; ) {
          const began = Date.now();
          await session(listener).catch((error) => {
            if (!ending.signal.aborted) listener.trouble(reasonOf(error));
          });
          // Spread out, or all nodes would come back to a restarted server at the same moment.
          wait = Date.now() - began > 10_000 ? 100 : Math.min(wait * 2, 10_000);
          await sleep(wait * (0.5 + Math.random() / 2), ending.signal).catch(() => {});
        }
      })();
    },
    async stop() {
      ending.abort(new Error("the agent ends"));
      await running;
    },
  };
}

/** A node, and when it was written. */
export interface Recorded {
  node: PeerNode;
  revision: number;
}

/**
 * The nodes, without those that another one has displaced: of two that have the same address or subnet, the one that was
 * written last is meant, and this node itself before all.
 */
export function withoutClashes(
  records: ReadonlyMap<string, Recorded>,
  former: ReadonlyMap<string, Recorded>,
  own: string,
  refused: (text: string) => void,
): PeerNode[] {
  const self = records.get(own);
  const holders = new Map<string, Recorded>();
  const nodes = new Set<PeerNode>();
  /** Whether `one` gives way to the holder of something that it has; otherwise such holders give way to it. */
  const hold = (one: Recorded, word: string): boolean => {
    const other = holders.get(word);
    if (other === undefined || !nodes.has(other.node)) {
      holders.set(word, one);
      return true;
    }
    if (other === self || (one !== self && other.revision > one.revision)) return false;
    nodes.delete(other.node);
    refused(`node "${other.node.name}", which has ${word} as has node "${one.node.name}", which is newer`);
    holders.set(word, one);
    return true;
  };
  const add = (one: Recorded): void => {
    const { node } = one;
    nodes.add(node);
    for (const words of [node.addresses, node.subnets])
      for (const word of words)
        if (!hold(one, word)) {
          nodes.delete(node);
          refused(
            `node "${node.name}", which has ${word} as has node "${holders.get(word)!.node.name}", which is newer`,
          );
          return;
        }
  };
  for (const one of records.values()) add(one);
  for (const [key, { node }] of former) if (!records.has(key)) add({ node, revision: -1 });
  return [...nodes];
}

/** Whether these few have nothing that another node has too. */
export function standAlone(keys: ReadonlySet<string>, records: ReadonlyMap<string, Recorded>): boolean {
  if (keys.size > 8) return false; // then it is no quicker
  for (const key of keys) {
    const one = records.get(key)?.node;
    if (!one) continue;
    for (const { node } of records.values()) {
      if (node === one) continue;
      for (const word of node.addresses) if (one.addresses.includes(word)) return false;
      for (const word of node.subnets) if (one.subnets.includes(word)) return false;
    }
  }
  return true;
}

/** Rejects when the signal comes; otherwise resolves after that many milliseconds. */
function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const end = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", end);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", end, { once: true });
  });
}
