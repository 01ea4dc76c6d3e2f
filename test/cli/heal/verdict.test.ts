import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { decide, type Memory, many, patience, type Suspect } from "../../../cli/heal/verdict.ts";

const runs = process.env.TENON_SOAK ? 20_000 : 500;
const suspect = (label: string, alive?: string): Suspect => (alive === undefined ? { label } : { label, alive });

test("dead is who was silent in two looks fifteen minutes apart", () => {
  const both = [suspect("a"), suspect("b", "its link")];
  const first = decide(both, {}, 1000, []);
  expect(first).toEqual({ dead: [], waiting: ["a"], memory: { a: 1000 }, refusals: [] });
  const early = decide(both, first.memory, 1000 + patience - 1, []);
  expect(early).toEqual(first);
  expect(decide(both, early.memory, 1000 + patience, []).dead).toEqual(["a"]);
});

test("a sign of life, or a look that failed, begins the time anew", () => {
  const { memory } = decide([suspect("a")], {}, 0, []);
  expect(decide([suspect("a", "seen")], memory, 100, []).memory).toEqual({});
  expect(decide([suspect("a")], memory, patience * 2, ["socket missing"])).toEqual({
    dead: [],
    waiting: [],
    memory: {},
    refusals: ["socket missing"],
  });
});

test("too many at once are left, and said", () => {
  const all = Array.from({ length: 40 }, (_, at) => suspect(`${at}`, at < 11 ? undefined : "alive"));
  const memory = Object.fromEntries(all.map(({ label }) => [label, 0]));
  const verdict = decide(all, memory, patience, []);
  expect([verdict.dead, verdict.waiting.length]).toEqual([[], 11]);
  expect(verdict.refusals).toEqual(["11 of 40 attachments seem dead: too many at once to be true"]);
  expect(decide(all.slice(1), memory, patience, []).dead.length).toBe(10);
  const larger = Array.from({ length: 100 }, (_, at) => suspect(`${at}`, at < 20 ? undefined : "alive"));
  const known = Object.fromEntries(larger.map(({ label }) => [label, 0]));
  expect(decide(larger, known, patience, []).dead.length).toBe(20);
});

test("whatever the looks: nobody dies who was not silent in all looks of fifteen minutes, and never too many", () => {
  const labels = ["a", "b", "c", "__proto__", "constructor"];
  const oneLook = fc.record({
    after: fc.integer({ min: -1000, max: patience }),
    alive: fc.subarray(labels),
    problem: fc.option(fc.constant("broken"), { freq: 8 }),
  });
  fc.assert(
    fc.property(fc.array(oneLook, { maxLength: 12 }), (looks) => {
      let now = 1e6;
      let memory: Memory = {};
      const silent = new Map<string, number>();
      for (const { after, alive, problem } of looks) {
        now += after;
        const problems = problem === null ? [] : [problem];
        const suspects = labels.map((label) => suspect(label, alive.includes(label) ? "alive" : undefined));
        const verdict = decide(suspects, memory, now, problems);
        memory = JSON.parse(JSON.stringify(verdict.memory)); // it goes through a file
        for (const label of labels) {
          if (problem !== null || alive.includes(label)) silent.delete(label);
          else silent.set(label, Math.min(now, silent.get(label) ?? now));
        }
        if (problem !== null) expect(verdict.dead).toEqual([]);
        for (const label of verdict.dead) expect(now - silent.get(label)!).toBeGreaterThanOrEqual(patience);
        expect(verdict.dead.length).toBeLessThanOrEqual(Math.max(many.least, many.share * labels.length));
      }
    }),
    { numRuns: runs },
  );
});
