import { expect, test } from "bun:test";
import { table } from "../../cli/command.ts";

test("a table is as wide as its widest cells, without blanks at the ends of lines", () => {
  expect(table(["a", "long"], [["wide one", "x"], ["y"]])).toBe("a         long\nwide one  x\ny\n");
});
