import { expect, test } from "bun:test";
import { keepKnown, readFew, readNode } from "../../../cli/agent/records.ts";

test("a record is read by the rules of the snapshot, and its place is named", () => {
  const node = { name: "a", subnets: ["10.244.1.0/24"], addresses: ["192.0.2.1"], mtu: 1500 };
  expect(readNode(node, "/k")).toEqual(node);
  expect(() => readNode({ ...node, subnets: ["10.244.1.1/24"] }, "/k")).toThrow('(in "/k")');
  expect(() => readNode(null, "/k")).toThrow("Cannot");
  expect(() => readNode({ subnets: [] }, "/k")).toThrow("nodes[0].name");
});

test("nodes that did not change stay the objects that they were", () => {
  const before = [
    { name: "a", subnets: [], addresses: ["192.0.2.1"] },
    { name: "b", subnets: [], addresses: [] },
  ];
  const after = keepKnown([{ name: "b", subnets: [], addresses: ["192.0.2.2"] }, { ...before[0]! }], before);
  expect(after[1]).toBe(before[0]!);
  expect(after[0]).toEqual({ name: "b", subnets: [], addresses: ["192.0.2.2"] });
});

test("of a list that is known but for a few, the few are read; whatever is wrong, the whole list is", () => {
  const make = (at: number, subnet = `10.1.${at}.0/24`, more: object = {}) => ({
    name: `n${at}`,
    subnets: [subnet, `fd00:${at}::/64`],
    addresses: [`192.0.2.${at}`],
    ...more,
  });
  const before = Array.from({ length: 20 }, (_, at) => make(at + 1));
  const list = (at: number, one?: unknown): unknown[] => {
    const all: unknown[] = structuredClone(before);
    all.splice(at, 1, ...(one === undefined ? [] : [one]));
    return all;
  };
  const after = readFew(list(3, make(4, "10.2.0.0/16", { mtu: 1400 })), before, "n1")!;
  expect(after[3]).toEqual(make(4, "10.2.0.0/16", { mtu: 1400 }) as any);
  for (const [at, node] of after.entries()) if (at !== 3) expect(node).toBe(before[at]!);
  expect(readFew(list(3), before, "n1")!.length).toBe(19);
  expect(readFew([...before, make(21)], before, "n1")!.at(-1)!.name).toBe("n21");
  // Written in other words, it is read, and is what it was.
  expect(readFew(list(3, { ...make(4), mtu: null }), before, "n1")![3]).toEqual(before[3]!);

  const wrong: unknown[] = [
    make(5), // two of one name
    null,
    "n4",
    make(4, "10.1.5.0/24"),
    make(4, "10.1.4.0/22"), // around others
    make(4, "10.1.5.128/25"), // inside of another
    make(4, "10.1.4.1/24"),
    { ...make(4), addresses: ["192.0.2.5"] },
  ];
  for (const one of wrong) expect(readFew(list(3, one), before, "n1")).toBeUndefined();
  expect(readFew(list(0), before, "n1")).toBeUndefined();
  expect(
    readFew(
      before.map((_, at) => make(at + 1, `10.3.${at}.0/24`)),
      before,
      "n1",
    ),
  ).toBeUndefined();
});
