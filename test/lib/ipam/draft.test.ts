import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DRAFT, Draft } from "../../../lib/ipam/draft.ts";

let folder: string;
let directory: number;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "draft-"));
  directory = openSync(folder, "r");
});
afterEach(() => {
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
});
afterAll(() => {
  closeSync(directory);
  rmSync(folder, { recursive: true });
});

const content = new TextEncoder().encode("c1\r\neth0");

describe.each([
  ["without a name", true],
  ["under a temporary name", false],
])("a draft %s", (_, unnamed) => {
  test("appears whole under the names that it is given, and only there", () => {
    const draft = new Draft(directory, content, { unnamed });
    expect(readdirSync(folder)).toEqual(unnamed ? [] : [DRAFT]);
    expect(draft.publish("10.1.2.3")).toBe(true);
    expect(draft.publish("10.1.2.4")).toBe(true);
    draft.discard();
    expect(readdirSync(folder).sort()).toEqual(["10.1.2.3", "10.1.2.4"]);
    expect(readFileSync(join(folder, "10.1.2.3"), "utf8")).toBe("c1\r\neth0");
    expect(statSync(join(folder, "10.1.2.3")).mode & 0o7777).toBe(0o600);
  });

  test("leaves what has the name already", () => {
    writeFileSync(join(folder, "10.1.2.3"), "other");
    const draft = new Draft(directory, content, { unnamed });
    expect(draft.publish("10.1.2.3")).toBe(false);
    expect(draft.publish("10.1.2.4")).toBe(true);
    draft.discard();
    expect(readFileSync(join(folder, "10.1.2.3"), "utf8")).toBe("other");
  });

  test("discarded without a name is nothing", () => {
    new Draft(directory, content, { unnamed }).discard();
    expect(readdirSync(folder)).toEqual([]);
  });

  test("says what it could not create", () => {
    const draft = new Draft(directory, content, { unnamed });
    expect(() => draft.publish("no/such")).toThrow("no/such");
    draft.discard();
    expect(readdirSync(folder)).toEqual([]);
  });
});

test("a draft under a temporary name takes the place of one that a crash left", () => {
  writeFileSync(join(folder, DRAFT), "half");
  const draft = new Draft(directory, content, { unnamed: false });
  draft.publish("10.1.2.3");
  draft.discard();
  expect(readdirSync(folder)).toEqual(["10.1.2.3"]);
  expect(readFileSync(join(folder, "10.1.2.3"), "utf8")).toBe("c1\r\neth0");
});
