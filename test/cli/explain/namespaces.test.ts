import { expect, test } from "bun:test";
import { identity, listNamespaces } from "../../../cli/explain/namespaces.ts";

test("every namespace of the machine stands there once, our own not at all", () => {
  const ids = listNamespaces()
    .map(identity)
    .filter((id) => id !== undefined);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids).not.toContain(identity("/proc/self/ns/net"));
});

test("what is gone has no identity", () => {
  expect(identity("/run/netns/never-there")).toBeUndefined();
  expect(identity("/proc/self/ns/net")).toMatch(/^\d+:\d+$/);
});
