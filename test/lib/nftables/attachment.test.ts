// What is asked and what is changed, as replies have it; that the kernel does so is shown by the tests of lib/ip.
import { expect, test } from "bun:test";
import { Connection, type Message, NetlinkError } from "../../../lib/netlink/socket.ts";
import {
  deleteAll,
  deleteWhere,
  ensureElements,
  listElements,
  listSets,
  placesOf,
  removeOwn,
} from "../../../lib/nftables/attachment.ts";
import { createElements, type Element, readElements } from "../../../lib/nftables/element.ts";
import { addTable } from "../../../lib/nftables/table.ts";
import { bodyOf, hex } from "../../helpers/bytes.ts";
import { type Asked, acknowledge, done, kernel, say } from "../../helpers/transport.ts";

const [ENOENT, EEXIST, EINVAL, ERESTART] = [2, 17, 22, 85];
const table = { family: "inet", name: "tenon" } as const;
const pods = { table, name: "pods" };
const nets = { table, name: "nets" };
const [NEWTABLE, GETSET, NEWSETELEM, GETSETELEM, DELSETELEM, GETGEN] = [0xa00, 0xa0a, 0xa0c, 0xa0d, 0xa0e, 0xa10];
const BATCH = 16;
const key = (last: number) => Uint8Array.of(10, 1, 0, last);
const element = (last: number, comment?: string): Element => ({ key: key(last), comment });

/** Says what each look finds: errno, element or nothing in particular; then what becomes of each batch. */
function scripted(looks: (number | Element | "found")[][], batches: (number | "done")[]) {
  const left = [...looks];
  return kernel((asked) => {
    if (asked[0]!.type === BATCH) return [outcome(asked, batches.shift()!)];
    const found = left.length > 1 ? left.shift()! : left[0]!;
    return asked.flatMap((one, at) => answer(one, at === 0 ? "found" : found[at - 1]!));
  });
}

function outcome(asked: Asked[], result: number | "done"): Uint8Array {
  if (result === "done") return acknowledge(asked.at(-2)!);
  return result === ERESTART ? acknowledge(asked[0]!, ERESTART) : acknowledge(asked.at(-2)!, result);
}

function answer(one: Asked, found: number | Element | "found"): Uint8Array[] {
  if (typeof found === "number") return [acknowledge(one, found)];
  if (one.type === GETGEN)
    return [say(0xa0f, one.sequence, hex("00 00 00 0a 08 00 01 00 00 00 00 07")), acknowledge(one)];
  if (found === "found") return [acknowledge(one)];
  return [say(NEWSETELEM, one.sequence, bodyOf(createElements(pods, [found]))), acknowledge(one)];
}

const types = (sends: Asked[][]) => sends.map((asked) => asked.map(({ type }) => type));
const places = [{ set: pods, key: key(2) }];
const prepared: Message[] = [addTable(table)];
const prepare = () => prepared;

test("a free place is one look and one batch, which does not depend on what others change", () => {
  const transport = scripted([["found", ENOENT]], ["done"]);
  ensureElements(new Connection(transport), "net/a/eth0", places, [nets], prepare);
  expect(types(transport.sends)).toEqual([
    [GETGEN, GETSET, GETSETELEM],
    [BATCH, NEWSETELEM, 17],
  ]);
  expect(transport.sends[1]![0]!.payload).toHaveLength(4);
  expect(readElements({ type: NEWSETELEM, payload: transport.sends[1]![1]!.payload })).toEqual([
    element(2, "net/a/eth0"),
  ]);
});

test("a place with the label already is one look and nothing else", () => {
  const transport = scripted([["found", element(2, "net/a/eth0")]], []);
  ensureElements(new Connection(transport), "net/a/eth0", places, [nets], prepare);
  expect(types(transport.sends)).toEqual([[GETGEN, GETSET, GETSETELEM]]);
});

test("where a set is missing, everything is made in one batch of this generation", () => {
  const transport = scripted([[ENOENT, ENOENT]], ["done"]);
  ensureElements(new Connection(transport), "net/a/eth0", places, [nets], prepare);
  expect(types(transport.sends)[1]).toEqual([BATCH, NEWTABLE, NEWSETELEM, 17]);
  expect(transport.sends[1]![0]!.payload.slice(-4)).toEqual(Uint8Array.of(0, 0, 0, 7));
});

test("a place of another label is deleted and made in one batch, as the old comment would stay silently", () => {
  const transport = scripted([["found", element(2, "net/b/eth0")]], ["done"]);
  ensureElements(new Connection(transport), "net/a/eth0", places, [nets], prepare);
  expect(types(transport.sends)[1]).toEqual([BATCH, NEWTABLE, DELSETELEM, NEWSETELEM, 17]);
});

test("a place of another label that must not give way is left alone, and its holder named", () => {
  const transport = scripted([["found", element(2, "net/b/eth0")]], []);
  const taken = (holder: string) => {
    throw new Error(`taken by ${holder}`);
  };
  const add = () =>
    ensureElements(new Connection(transport), "net/a/eth0", [{ ...places[0]!, taken }], [nets], prepare);
  expect(add).toThrow("taken by net/b/eth0");
  expect(transport.sends).toHaveLength(1);
});

test.each([
  ["the same data is left as it is", 80, 1],
  ["other data is deleted and made in one batch", 81, 2],
] as const)("a place of this label with %s", (_, port, sends) => {
  const there = { ...element(2, "net/a/eth0"), data: Uint8Array.of(port) };
  const transport = scripted([["found", there]], ["done"]);
  const place = { ...places[0]!, data: Uint8Array.of(80) };
  ensureElements(new Connection(transport), "net/a/eth0", [place], [nets], prepare);
  expect(transport.sends).toHaveLength(sends);
  const [, change] = transport.sends;
  if (change)
    expect(readElements({ type: NEWSETELEM, payload: change[3]!.payload })).toEqual([
      { ...element(2, "net/a/eth0"), data: Uint8Array.of(80) },
    ]);
});

test.each([
  ["the place was taken", EEXIST, ["found", ENOENT]],
  ["the set was removed", ENOENT, ["found", ENOENT]],
  ["the generation passed", ERESTART, [ENOENT, ENOENT]],
] as [string, number, (number | Element | "found")[]][])(
  "when in the meantime %s, it looks again",
  (_, errno, found) => {
    const transport = scripted([found], [errno, errno, "done"]);
    ensureElements(new Connection(transport), "net/a/eth0", places, [nets], prepare);
    expect(transport.sends).toHaveLength(6);
  },
);

test("a refusal for any other reason is thrown, and names the element", () => {
  const transport = scripted([["found", ENOENT]], [EINVAL]);
  const add = () => ensureElements(new Connection(transport), "net/a/eth0", places, [nets], prepare);
  expect(add).toThrow(new NetlinkError('add element "net/a/eth0" of set inet tenon pods', EINVAL));
  expect(transport.sends).toHaveLength(2);
});

test("a look that is refused is thrown", () => {
  const transport = scripted([[EINVAL, ENOENT]], []);
  expect(() => ensureElements(new Connection(transport), "a", places, [nets], prepare)).toThrow(
    new NetlinkError("find set inet tenon nets", EINVAL),
  );
});

test("of several elements only those of the label are removed", () => {
  const transport = scripted([[element(2, "net/a/eth0"), element(3, "net/b/eth0"), ENOENT, element(5)]], ["done"]);
  const some = [2, 3, 4, 5].map((last) => ({ set: pods, key: key(last) }));
  removeOwn(new Connection(transport), "net/a/eth0", some);
  expect(types(transport.sends)[1]).toEqual([BATCH, DELSETELEM, 17]);
  expect(readElements({ type: 0, payload: transport.sends[1]![1]!.payload })).toEqual([element(2)]);
});

test("removing at no place asks nothing", () => {
  const transport = scripted([[]], []);
  removeOwn(new Connection(transport), "net/a/eth0", []);
  expect(transport.sends).toEqual([]);
});

test("places of a label are found in any set", () => {
  const contents = [
    { set: pods, elements: [element(2, "a"), element(3, "b"), element(4)] },
    { set: nets, elements: [element(2, "a")] },
  ];
  expect(placesOf(contents, "a")).toEqual([
    { set: pods, key: key(2) },
    { set: nets, key: key(2) },
  ]);
});

test("where there is nothing, removing is one request", () => {
  const transport = scripted([[ENOENT]], []);
  removeOwn(new Connection(transport), "net/a/eth0", places);
  expect(types(transport.sends)).toEqual([[GETGEN, GETSETELEM]]);
});

test("sets and elements of what is not there are none", () => {
  const missing = () => new Connection(kernel(([dump]) => [acknowledge(dump!, ENOENT)]));
  expect(listSets(missing(), table)).toEqual([]);
  expect(listElements(missing(), pods)).toEqual([]);
  const refused = new Connection(kernel(([dump]) => [done(dump!.sequence, EINVAL)]));
  expect(() => listSets(refused, table)).toThrow(new NetlinkError("list sets of table inet tenon", EINVAL));
});

test("any number of stale elements is deleted, in transactions that fit a socket", () => {
  let there = Array.from(
    { length: 5000 },
    (_, at): Element => ({ key: key(0), comment: at % 2 ? `net/${at}` : "kept" }),
  );
  const batches: number[] = [];
  const transport = kernel((asked) => {
    if (asked[0]!.type !== BATCH) return asked.flatMap((one) => answer(one, "found"));
    const lists = asked.slice(1, -1).map(({ payload }) => readElements({ type: 0, payload }).length);
    batches.push(...lists);
    const gone = lists.reduce((sum, count) => sum + count, 0);
    const stale = there.filter(({ comment }) => comment !== "kept").slice(gone);
    there = [...there.filter(({ comment }) => comment === "kept"), ...stale];
    return [acknowledge(asked.at(-2)!)];
  });
  const read = () => [{ set: pods, elements: there }];
  const none = () => [];
  deleteWhere(new Connection(transport), read, (comment) => comment !== "kept", none);
  expect(batches).toEqual([1024, 1024, 452]);
  there = Array.from({ length: 5000 }, (): Element => ({ key: key(0), comment: "net/x" }));
  batches.length = 0;
  deleteWhere(new Connection(transport), read, (comment) => comment !== "kept", none);
  expect(batches).toEqual([1024, 1024, 1024, 1024, 904]);
});

test("sets that are left empty can be cleared away in the same transaction; without a comment an element is nobody's", () => {
  const transport = scripted([[]], ["done", "done"]);
  const seen: string[][] = [];
  const clear = (empty: { name: string }[]) => {
    seen.push(empty.map(({ name }) => name));
    return prepared;
  };
  const contents = [
    { set: pods, elements: [element(2, "a")] },
    { set: nets, elements: [element(3)] },
  ];
  deleteWhere(
    new Connection(transport),
    () => contents,
    () => true,
    clear,
  );
  expect(seen).toEqual([["pods"]]);
  expect(types(transport.sends)[1]).toEqual([BATCH, DELSETELEM, NEWTABLE, 17]);
});

test("a list of deletions is cut so that each message stays under 64 KiB", () => {
  const long = new Array<Element>(2500).fill({ key: new Uint8Array(24) });
  const messages = deleteAll(pods, long);
  expect(messages).toHaveLength(3);
  for (const message of messages) expect(bodyOf(message).length).toBeLessThan(65536);
});
