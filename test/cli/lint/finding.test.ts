import { expect, test } from "bun:test";
import { join } from "../../../cli/lint/finding.ts";

test("a path grows by keys and by places of lists", () => {
  expect(join("", "name")).toBe("name");
  expect(join("plugins[0]", "ipam")).toBe("plugins[0].ipam");
  expect(join("ranges", "[1]")).toBe("ranges[1]");
});
