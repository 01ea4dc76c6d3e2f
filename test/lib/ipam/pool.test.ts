import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { hasFree, takeNext, takeRequested } from "../../../lib/ipam/pool.ts";
import { type RangeSet, readRangeSets, toNumber, toText } from "../../../lib/ipam/ranges.ts";
import { type Store, withStore } from "../../../lib/ipam/store.ts";
import { parseCidr, parseIp } from "../../../lib/netlink/inet.ts";
import { makeNode } from "../../helpers/node.ts";

const folder = mkdtempSync(join(tmpdir(), "pool-"));
afterAll(() => rmSync(folder, { recursive: true }));

let directory: string;
let count = 0;
beforeEach(() => {
  directory = join(folder, `${++count}`);
  mkdirSync(directory);
});

const inStore = <T>(body: (store: Store) => T): T =>
  withStore({ directory, cache: join(directory, "..", `cache${count}`) }, body);
const set = (subnet: string, more: object = {}): RangeSet =>
  readRangeSets([[{ key: "range", range: { subnet: parseCidr(subnet), ...more } as any }]])[0]!;
const small = set("10.213.77.0/29"); // .2 to .6

/** Takes the next address and notes it as the last, as ADD does. */
function take(owner: string, from = small, search = false): string | undefined {
  return inStore((store) => {
    const address = takeNext(store, from, 0, owner, search);
    if (address === undefined) return undefined;
    store.setLast(0, address);
    return toText(address);
  });
}
const give = (text: string, owner: string) => inStore((store) => store.release(toNumber(parseIp(text)!), owner));
const isFree = (from = small) => inStore((store) => hasFree(store, from));
const names = () =>
  readdirSync(directory)
    .sort()
    .filter((name) => /^[\d.]+$/.test(name));

/** Runs statements in a node of its own, where every namespace may be asked; what they print. */
async function inNode(statements: string): Promise<string> {
  await using node = await makeNode("pool");
  const script = `
    import { utimesSync } from "node:fs";
    import { takeNext, takeRequested, hasFree } from "${resolve("lib/ipam/pool.ts")}";
    import { readRangeSets, toNumber, toText } from "${resolve("lib/ipam/ranges.ts")}";
    import { withStore } from "${resolve("lib/ipam/store.ts")}";
    import { parseCidr, parseIp } from "${resolve("lib/netlink/inet.ts")}";
    const place = { directory: "/run/net", cache: "/run/cache" };
    let set = readRangeSets([[{ key: "range", range: { subnet: parseCidr("127.0.0.0/29"), gateway: "127.0.0.6" } }]])[0];
    const number = (last) => toNumber(parseIp("127.0.0." + last));
    const take = (owner) => console.log(withStore(place, (store) => {
      const address = takeNext(store, set, 0, owner, false);
      if (address !== undefined) store.setLast(0, address);
      return address === undefined ? "none" : toText(address);
    }));
    const age = (last) => utimesSync("/run/net/127.0.0." + last, 1e9, 1e9);
    const isFree = () => console.log(withStore(place, (store) => hasFree(store, set)));
    ${statements}`;
  const { stdout, stderr } = await node.exec(process.execPath, ["-e", script]);
  return `${stdout}\n${stderr}`.trim();
}

describe.each([
  ["trying the next one first", false],
  ["searching always", true],
])("%s", (_, search) => {
  test("addresses go round, and one given back rests until the others have had their turn", () => {
    const next = () => take("c", small, search);
    expect([next(), next(), next()]).toEqual(["10.213.77.2", "10.213.77.3", "10.213.77.4"]);
    give("10.213.77.2", "c");
    give("10.213.77.4", "c");
    expect([next(), next(), next(), next()]).toEqual(["10.213.77.5", "10.213.77.6", "10.213.77.2", "10.213.77.4"]);
    expect(next()).toBeUndefined();
    expect(isFree()).toBe(false);
    give("10.213.77.3", "c");
    expect(isFree()).toBe(true);
    expect(next()).toBe("10.213.77.3");
  });

  test("what the index does not know of is left alone", () => {
    inStore((store) => {
      expect(store.index.count).toBe(0);
      writeFileSync(join(directory, "10.213.77.2"), "somebody");
      mkdirSync(join(directory, "10.213.77.3"));
      expect(toText(takeNext(store, small, 0, "c", search)!)).toBe("10.213.77.4");
    });
  });
});

test("an empty range has no address", () => {
  const none = set("10.213.77.0/29", { exclude: ["10.213.77.0/29"] });
  expect(take("c", none)).toBeUndefined();
  expect(isFree(none)).toBe(false);
});

test("a pool is full when its own addresses are taken, not when there are as many others", () => {
  for (let i = 1; i < 20; i++) writeFileSync(join(directory, `10.213.78.${i}`), "other");
  expect(isFree()).toBe(true);
  for (let i = 2; i < 7; i++) writeFileSync(join(directory, `10.213.77.${i}`), "c");
  expect(isFree()).toBe(false);
  expect(take("c")).toBeUndefined();
});

describe("an exhausted pool", () => {
  const fill = () => {
    for (let i = 2; i < 7; i++) expect(take(`c${i}`)).toBe(`10.213.77.${i}`);
  };

  test("takes back reservations without an owner", () => {
    fill();
    writeFileSync(join(directory, "10.213.77.3"), "");
    writeFileSync(join(directory, "10.213.77.5"), "\0\0\0\0\0\0");
    writeFileSync(join(directory, "10.213.78.9"), "");
    expect(isFree()).toBe(true);
    expect(names()).toHaveLength(6);
    expect([take("d"), take("d"), take("d")]).toEqual(["10.213.77.3", "10.213.77.5", undefined]);
    expect(names()).toContain("10.213.78.9");
    expect(isFree()).toBe(false);
  });

  test("takes back what was reserved before the node was started, but not what is on a link", async () => {
    const printed = await inNode(`
      for (const owner of ["a", "b", "c"]) take(owner);
      age(1), age(2), age(3);
      take("d"), take("e"), isFree();
      take("f"), take("g"), take("h"), isFree();
      console.log(withStore(place, (store) => ["a", "b", "f"].map((owner) => store.held(owner).map(toText).join())));
      age(5), console.log(withStore(place, (store) => takeRequested(store, "i", number(5))));
      age(1), console.log(withStore(place, (store) => takeRequested(store, "i", number(1))));`);
    expect(printed.split("\n")).toEqual([
      ...["127.0.0.1", "127.0.0.2", "127.0.0.3"], // the first is on lo
      ...["127.0.0.4", "127.0.0.5", "true"],
      ...["127.0.0.2", "127.0.0.3", "none", "false"],
      '[ "127.0.0.1", "", "127.0.0.2" ]',
      ...["true", "false"],
      expect.stringContaining("Reclaimed 127.0.0.2, 127.0.0.3"),
      expect.stringContaining("Reclaimed 127.0.0.5"),
    ]);
  });

  test("keeps what is no file", () => {
    for (let i = 2; i < 7; i++) mkdirSync(join(directory, `10.213.77.${i}`));
    expect(take("d")).toBeUndefined();
    expect(isFree()).toBe(false);
    expect(names()).toHaveLength(5);
  });
});

test("a requested address is taken back from nobody, and from nobody else", () => {
  const asked = toNumber(parseIp("10.213.77.3")!);
  const request = (owner: string) => inStore((store) => takeRequested(store, owner, asked));
  expect(request("c1")).toBe(true);
  expect(request("c2")).toBe(false);
  writeFileSync(join(directory, "10.213.77.3"), "");
  writeFileSync(join(directory, "10.213.77.4"), "");
  expect(request("c2")).toBe(true);
  expect(names()).toEqual(["10.213.77.3", "10.213.77.4"]);
});
