// The source `etcd` against a real server: joining, following, and every way in which the server can be lost.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { etcdSource, standAlone, withoutClashes } from "../../../cli/agent/etcd-source.ts";
import { recall } from "../../../cli/agent/memory.ts";
import type { Source } from "../../../cli/agent/source.ts";
import { tenonLayout } from "../../../cli/agent/tenon-layout.ts";
import type { PeerNode } from "../../../lib/peers/snapshot.ts";
import { type Etcd, startEtcd } from "../../helpers/etcd.ts";

const soak = process.env.TENON_SOAK === "1";
let etcd: Etcd;
let folder: string;
beforeAll(async () => {
  etcd = await startEtcd();
  folder = await mkdtemp(join(tmpdir(), "tenon-source-"));
});
afterAll(async () => {
  await etcd[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

type Options = {
  network: string;
  addresses?: string[];
  lease?: number;
  size?: number;
  cidr?: string;
  home?: string;
  heartbeat?: number;
  well?: () => void;
};

type Seen = AsyncDisposable & {
  nodes: readonly PeerNode[];
  lists: number;
  trouble: string | undefined;
  said: string[];
  addresses: string[];
  /** Why the node cannot tell its addresses at the moment. */
  lost: string | undefined;
  /** Of this node. */
  subnets(): string[];
  names(): string[];
  source: Source;
};

/** A node's source, what it told last, and what it said. */
function node(name: string, options: Options) {
  const {
    network,
    addresses = [addressOf(name)],
    lease = 60,
    size = 24,
    cidr = "10.244.0.0/16",
    home = name,
    heartbeat = 0.3,
    well,
  } = options;
  const said: string[] = [];
  const source: Source = etcdSource({
    settings: { type: "etcd", hosts: [etcd.host], prefix: "/tenon", lease, heartbeat },
    layout: tenonLayout("/tenon", network, [{ cidr, size }]),
    memory: join(folder, `${network}-${home}.json`),
    self: () => {
      if (state.lost !== undefined) throw new Error(state.lost);
      return { name, addresses: state.addresses };
    },
    say: (text) => said.push(text),
  });
  const state: Seen = {
    nodes: [],
    lists: 0,
    trouble: undefined,
    said,
    addresses,
    lost: undefined,
    subnets: () => state.nodes.find((one) => one.name === name)?.subnets ?? [],
    names: () => state.nodes.map((one) => one.name).sort(),
    source,
    [Symbol.asyncDispose]: () => source.stop(),
  };
  source.start({
    nodes: (nodes) => {
      state.nodes = nodes;
      state.lists++;
    },
    trouble: (text) => {
      state.trouble = text;
      if (text === undefined) well?.();
    },
    refused: (text) => said.push(text),
  });
  return state;
}

const addressOf = (name: string) => `192.0.2.${(Bun.hash.crc32(name) % 250) + 1}`;

async function until(what: string, condition: () => boolean | Promise<boolean>, seconds = 20): Promise<void> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await Bun.sleep(20)) if (await condition()) return;
  throw new Error(`Cannot see that ${what}: not within ${seconds} s`);
}

test("nodes that start together claim different subnets and see each other", async () => {
  const count = 20;
  const nodes = Array.from({ length: count }, (_, at) =>
    // Room for 32 subnets only, so that many of them want the same one.
    node(`n${at}`, { network: "crowd", addresses: [`192.0.2.${at + 1}`], cidr: "10.244.0.0/19" }),
  );
  await until("all see all", () => nodes.every(({ nodes }) => nodes.length === count));
  expect(new Set(nodes.flatMap(({ subnets }) => subnets())).size).toBe(count);
  await Promise.all(nodes.map(({ source }) => source.stop()));
});

test("a node that comes again has its subnet again and writes nothing", async () => {
  let subnet: string[];
  {
    await using first = node("again", { network: "again" });
    await until("it joined", () => first.subnets().length === 1);
    subnet = first.subnets();
  }
  const client = etcd.client();
  const before = (await client.get("/tenon/again/nodes/again").exec()).kvs[0]!;
  await using second = node("again", { network: "again" });
  await until("it joined", () => second.subnets().length === 1);
  expect(second.subnets()).toEqual(subnet);
  expect((await client.get("/tenon/again/nodes/again").exec()).kvs[0]).toEqual(before);
});

test("a node that lost its memory finds its claim by its name", async () => {
  let subnet: string[];
  {
    await using first = node("lost", { network: "lost", lease: 3 });
    await until("it joined", () => first.subnets().length === 1);
    subnet = first.subnets();
  }
  await using second = node("lost", { network: "lost", lease: 3, home: "elsewhere" });
  await until("it joined", () => second.subnets().length === 1);
  expect(second.subnets()).toEqual(subnet);
});

test("a memory that cannot be written keeps nobody from joining, and is written as soon as it can be", async () => {
  const place = join(folder, "unwritten-home");
  await writeFile(place, "in the way of the folder");
  await using a = node("a", { network: "unwritten", home: "home/a" });
  await until("it joined", () => a.subnets().length === 1);
  expect(a.said.filter((text) => text.includes("Cannot write")).length).toBe(1);
  expect(a.trouble).toBeUndefined();
  await rm(place);
  await until("it is written", async () => (await recall(join(place, "a.json"))).lease !== undefined);
  expect((await recall(join(place, "a.json"))).subnets).toEqual(a.subnets());
});

test("a second living machine of one name is refused", async () => {
  await using first = node("twin", { network: "twin" });
  await until("it joined", () => first.subnets().length === 1);
  await using second = node("twin", { network: "twin", home: "other" });
  await until("it is told", () => second.trouble !== undefined);
  expect(second.trouble).toContain('another machine is node "twin" and alive');
  expect(second.lists).toBe(0);
});

test("ranges unlike the cluster's are refused, and a range that is full", async () => {
  await using first = node("a", { network: "full", cidr: "10.244.0.0/24", size: 24 });
  await until("it joined", () => first.subnets().length === 1);
  expect(first.subnets()).toEqual(["10.244.0.0/24"]);
  await using other = node("b", { network: "full" });
  await using third = node("c", { network: "full", cidr: "10.244.0.0/24", size: 24 });
  await until("both are told", () => other.trouble !== undefined && third.trouble !== undefined);
  expect(other.trouble).toContain("its ranges in etcd are");
  expect(third.trouble).toContain("all subnets of 10.244.0.0/24 are taken");
});

test("changes of others are told, as is a changed address of its own", async () => {
  await using a = node("a", { network: "changes" });
  await using b = node("b", { network: "changes" });
  await until("both see both", () => a.nodes.length === 2 && b.nodes.length === 2);
  const [kept] = a.nodes.filter(({ name }) => name === "a");
  b.addresses = ["192.0.2.253"];
  await until("a hears", () => a.nodes.some(({ addresses }) => addresses[0] === "192.0.2.253"));
  expect(a.nodes.find(({ name }) => name === "a")).toBe(kept!);
  const client = etcd.client();
  await client.delete().key("/tenon/changes/nodes/b").exec();
  // Removed by mistake: it comes back by itself, with the same subnet.
  const subnets = b.subnets();
  await until("it is back", async () => (await client.get("/tenon/changes/nodes/b").exec()).kvs.length === 1);
  await until("a sees it", () => a.names().join() === "a,b");
  expect(b.subnets()).toEqual(subnets);
});

test("records that are broken are passed over, and nodes that another one displaced", async () => {
  const client = etcd.client();
  await client.put("/tenon/broken/nodes/x").value("{").exec();
  await client.put("/tenon/broken/nodes/y").value('{"name":"y","subnets":["10.0.0.1/24"],"addresses":[]}').exec();
  await client.put("/tenon/broken/nodes/z").value('{"name":"zz","subnets":[],"addresses":[]}').exec();
  await client.put("/tenon/broken/nodes/old").value(`{"name":"old","subnets":[],"addresses":["192.0.2.251"]}`).exec();
  await using a = node("a", { network: "broken", addresses: ["192.0.2.251"] });
  await until("it joined", () => a.nodes.length === 1);
  expect(a.names()).toEqual(["a"]);
  expect(a.said.join("\n")).toMatch(
    /nodes\/x.*nodes\/y.*must be a network.*holds node "zz".*node "old", which has 192.0.2.251/s,
  );
});

test("a lease that ran out takes the node away; it joins again with the same subnet", async () => {
  await using a = node("a", { network: "lease" });
  const b = node("b", { network: "lease", lease: 2 });
  await until("both see both", () => a.nodes.length === 2 && b.nodes.length === 2);
  const subnets = b.subnets();
  await b.source.stop();
  expect(a.names()).toEqual(["a", "b"]);
  await until("its lease ran out", () => a.nodes.length === 1);
  await using again = node("b", { network: "lease", lease: 2 });
  await until("it is back", () => a.nodes.length === 2);
  await until("it knows", () => again.subnets().length === 1);
  expect(again.subnets()).toEqual(subnets);
});

test("a server that is killed, and one that says nothing, take nothing away; what was missed is told after", async () => {
  await using a = node("a", { network: "outage" });
  await using b = node("b", { network: "outage" });
  await until("both see both", () => a.nodes.length === 2 && b.nodes.length === 2);
  await etcd.kill();
  await until("a is told", () => a.trouble !== undefined);
  expect(a.nodes.length).toBe(2);
  await etcd.restart();
  await until("a is well", () => a.trouble === undefined);
  expect(a.names()).toEqual(["a", "b"]);

  etcd.pause();
  await until("a is told", () => a.trouble !== undefined);
  if (soak) await Bun.sleep(60_000);
  expect(a.nodes.length).toBe(2);
  etcd.resume();
  await until("a is well", () => a.trouble === undefined);
  const client = etcd.client();
  await client.put("/tenon/outage/nodes/c").value('{"name":"c","subnets":[],"addresses":["192.0.2.99"]}').exec();
  await until("a hears again", () => a.names().join() === "a,b,c");
}, 200_000);

test("a server that says nothing just when changes are to be followed is told of, long before the next heartbeat", async () => {
  let isPaused = false;
  const well = () => {
    if (isPaused) return;
    isPaused = true;
    etcd.pause();
  };
  await using a = node("a", { network: "mute", lease: 6000, heartbeat: 1000, well });
  try {
    await until("it is told", () => isPaused && a.trouble !== undefined);
  } finally {
    etcd.resume();
  }
  await until("it is well", () => a.trouble === undefined);
  const client = etcd.client();
  await client.put("/tenon/mute/nodes/c").value('{"name":"c","subnets":[],"addresses":["192.0.2.99"]}').exec();
  await until("it hears", () => a.names().join() === "a,c");
}, 60_000);

test("what was compacted while a node was away is listed anew", async () => {
  const client = etcd.client();
  await using a = node("a", { network: "compacted" });
  await until("it joined", () => a.nodes.length === 1);
  // Ends the session, and keeps the next one from beginning.
  a.lost = "no address";
  await until("a is told", () => a.trouble === "no address");
  const key = "/tenon/compacted/nodes/d";
  for (let at = 0; at < 5; at++) await client.put(key).value(`${at}`).exec();
  const { header } = await client.put(key).value('{"name":"d","subnets":[],"addresses":["192.0.2.98"]}').exec();
  await client.kv.compact({ revision: header.revision, physical: true });
  a.lost = undefined;
  await until("a sees the node", () => a.names().join() === "a,d");
  await until("a is well", () => a.trouble === undefined);
});

test("a server that comes back without its data loses no nodes before they had time to register", async () => {
  await using a = node("a", { network: "wiped" });
  await using b = node("b", { network: "wiped" });
  await until("both see both", () => a.nodes.length === 2 && b.nodes.length === 2);
  const subnets = [a.subnets(), b.subnets()];
  let least = 2;
  await etcd.restart({ empty: true });
  await until("both registered again", async () => {
    least = Math.min(least, a.nodes.length, b.nodes.length);
    return (await etcd.client().getAll().prefix("/tenon/wiped/nodes/").keys()).length === 2;
  });
  await until("a is well", () => a.trouble === undefined && b.trouble === undefined);
  expect(least).toBe(2);
  expect([a.subnets(), b.subnets()]).toEqual(subnets);
});

test("of two nodes with one address the newer one counts, and this node before all", () => {
  const make = (name: string, revision: number, ...addresses: string[]) => ({
    node: { name, subnets: [], addresses } as PeerNode,
    revision,
  });
  const records = new Map([
    ["self", make("self", 1, "192.0.2.1")],
    ["a", make("a", 5, "192.0.2.2")],
    ["b", make("b", 9, "192.0.2.2")],
    ["c", make("c", 10, "192.0.2.1")],
    ["f", make("f", 2, "192.0.2.6", "192.0.2.2")],
    ["g", make("g", 3, "192.0.2.6")],
  ]);
  const refused: string[] = [];
  const former = new Map([
    ["d", make("d", 99, "192.0.2.2")],
    ["e", make("e", 99, "192.0.2.5")],
  ]);
  const nodes = withoutClashes(records, former, "self", (text) => refused.push(text));
  expect(nodes.map(({ name }) => name)).toEqual(["self", "b", "g", "e"]);
  expect(refused.length).toBe(4);
  expect(refused[0]).toBe('node "a", which has 192.0.2.2 as has node "b", which is newer');
});

test("a record that has what another one has is seen among all, few or many having changed", () => {
  const make = (name: string, subnet: string, address: string) => ({
    node: { name, subnets: [subnet], addresses: [address] } as PeerNode,
    revision: 1,
  });
  const records = new Map([
    ["a", make("a", "10.1.0.0/24", "192.0.2.1")],
    ["b", make("b", "10.2.0.0/24", "192.0.2.2")],
    ["c", make("c", "10.3.0.0/24", "192.0.2.2")],
    ["d", make("d", "10.2.0.0/24", "192.0.2.4")],
  ]);
  expect(standAlone(new Set(["a", "gone"]), records)).toBe(true);
  for (const key of ["b", "c", "d"]) expect(standAlone(new Set(["a", key]), records)).toBe(false);
  expect(standAlone(new Set("abcdefghi"), new Map())).toBe(false);
});
