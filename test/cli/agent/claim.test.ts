import { expect, test } from "bun:test";
import { Subnets } from "../../../cli/agent/claim.ts";

test("all subnets of a range are given out, each once, and then none", () => {
  const subnets = new Subnets({ cidr: "10.244.0.0/20", size: 24 });
  const given = Array.from({ length: 16 }, (_, at) => subnets.next(`node-${at}`)!);
  expect(new Set(given).size).toBe(16);
  expect(given.every((subnet) => /^10\.244\.\d+\.0\/24$/.test(subnet) && subnets.holds(subnet))).toBe(true);
  expect(subnets.next("one-more")).toBeUndefined();
  expect(subnets.count).toEqual({ all: 16n, taken: 16 });
});

test("a name leads to the same place as long as that is free", () => {
  const range = { cidr: "fd00:10::/32", size: 64 };
  const first = new Subnets(range).next("worker-1")!;
  const other = new Subnets(range);
  expect(other.next("worker-1")).toBe(first);
  other.take("fd00:10:1::/64");
  expect(other.next("worker-1")).not.toBe(first);
});

test("what overlaps is taken, whatever its size; what lies elsewhere is not", () => {
  const subnets = new Subnets({ cidr: "10.244.0.0/22", size: 24 });
  for (const other of ["10.245.0.0/24", "fd00::/64", "10.243.255.0/24", "nonsense"]) subnets.take(other);
  expect(subnets.count.taken).toBe(0);
  subnets.take("10.244.1.128/25");
  subnets.take("10.244.2.0/23");
  expect(subnets.count.taken).toBe(3);
  expect(subnets.next("x")).toBe("10.244.0.0/24");
  expect(subnets.holds("10.244.2.0/23")).toBe(false);
  expect(subnets.holds("10.245.2.0/24")).toBe(false);
});
