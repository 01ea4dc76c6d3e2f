import { expect, test } from "bun:test";
import { keepKnown, readNode } from "../../../cli/agent/records.ts";

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
