import { expect, test } from "bun:test";
import { follow } from "../../../cli/explain/trail.ts";

test("a way goes on past notes and ends where it stops", () => {
  const trail = follow((trail) => {
    trail.ok("pod a", "link", "eth0 is up");
    trail.note("node", "masquerade", "look");
    throw trail.stop("node", "route", "none");
  });
  expect(trail.steps.map(({ state }) => state)).toEqual(["ok", "note", "stops"]);
  expect(trail.stopped).toEqual({ at: "node", what: "route", detail: "none", state: "stops" });
});

test("a way that nothing stops has no such step, and faults are not taken for stops", () => {
  expect(follow((trail) => trail.ok("node", "route", "x")).stopped).toBeUndefined();
  expect(() =>
    follow(() => {
      throw new TypeError("a fault");
    }),
  ).toThrow("a fault");
});
