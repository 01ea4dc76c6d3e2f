import { expect, test } from "bun:test";
import { Fights, firstRest } from "../../../cli/heal/fights.ts";

test("a few repairs are nothing; one after the other makes rests that double, up to a minute", () => {
  const fights = new Fights();
  let now = 0;
  const rests = Array.from({ length: 20 }, () => {
    now += 100;
    return fights.note("a", now);
  });
  expect(rests.slice(0, 12)).toEqual([...Array(10).fill(0), firstRest, 2 * firstRest]);
  expect(rests.at(-1)).toBe(60_000);
  expect([fights.isResting("a", now + 59_999), fights.isResting("a", now + 60_000)]).toEqual([true, false]);
  expect(fights.isResting("b", now)).toBe(false);
  expect(fights.next(now)).toBe(60_000);
});

test("repairs far between are no fight, and a fight that was quiet is over", () => {
  const fights = new Fights();
  for (let now = 0; now < 100_000; now += 1500) expect(fights.note("a", now)).toBe(0);
  let now = 200_000;
  for (let time = 0; time < 11; time++) fights.note("a", now++);
  expect(fights.isResting("a", now)).toBe(true);
  expect(fights.note("a", now + 60_000)).toBe(0);
});

test("what could not be brought back rests at once", () => {
  const fights = new Fights();
  expect([fights.note("a", 0, true), fights.note("a", 1000, true), fights.next(1000)]).toEqual([1000, 2000, 2000]);
  expect(fights.next(500_000)).toBeUndefined();
});
