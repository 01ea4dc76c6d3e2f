import { expect, test } from "bun:test";
import { keyOf, repairParts } from "../../../cli/heal/repair.ts";
import type { Part } from "../../../lib/cni/request.ts";

/** A part that is right once it was made in one of these ways. */
function part(right: "there" | "light" | "whole" | "never", made: boolean[] = []): Part {
  let done = right === "there";
  return {
    kind: "bridge",
    name: right,
    check: () => {
      if (!done) throw new Error("not there");
    },
    ensure: (whole) => {
      made.push(whole);
      done ||= right === "light" || (right === "whole" && whole);
    },
  };
}

test("a part that is there is left alone, another made again, whole if need be", () => {
  const outcome = (right: Parameters<typeof part>[0]) => {
    const made: boolean[] = [];
    return [repairParts([part(right, made)]), made];
  };
  const back = { kind: "bridge", why: "not there" };
  expect(outcome("there")).toEqual([[], []]);
  expect(outcome("light")).toEqual([[{ ...back, name: "light" }], [false]]);
  expect(outcome("whole")).toEqual([[{ ...back, name: "whole" }], [false, true]]);
  expect(outcome("never")).toEqual([[{ ...back, name: "never", failure: "not there" }], [false, true]]);
});

test("a look alone makes nothing", () => {
  const made: boolean[] = [];
  expect(repairParts([part("light", made)], { dry: true })).toEqual([
    { kind: "bridge", name: "light", why: "not there" },
  ]);
  expect(made).toEqual([]);
});

test("parts that are to be skipped are not even looked at", () => {
  const skip = (one: Part) => keyOf(one) === "bridge never";
  expect(repairParts([part("never"), part("light")], { skip }).map(({ name }) => name)).toEqual(["light"]);
});
