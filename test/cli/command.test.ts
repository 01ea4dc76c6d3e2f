import { expect, test } from "bun:test";
import { ago, command, table } from "../../cli/command.ts";

test("a table is as wide as its widest cells, without blanks at the ends of lines", () => {
  expect(table(["a", "long"], [["wide one", "x"], ["y"]])).toBe("a         long\nwide one  x\ny\n");
});

test("one table gives a command's usage and reads its arguments", async () => {
  let seen: unknown;
  const show = command({
    name: "show",
    summary: "shows",
    takes: "THING...",
    options: {
      from: { value: "FOLDER", word: "directory", short: "f", about: "where it is" },
      only: { value: "NAME", several: true, about: "these alone" },
      json: { about: "for programs" },
    },
    more: "More of it.",
    run: (given, operands) => {
      seen = { ...given, operands };
      return 0;
    },
  });
  expect(show.usage).toBe(
    [
      "Usage: tenon show [OPTION...] THING...",
      "",
      "More of it.",
      "",
      "option",
      "  -f, --from FOLDER  where it is",
      "  --only NAME        these alone",
      "  --json             for programs",
    ].join("\n"),
  );
  expect(await show.run(["-f", "/a", "x", "--only", "1", "--only=2", "--json", "y"])).toBe(0);
  expect(seen).toEqual({ from: "/a", only: ["1", "2"], json: true, operands: ["x", "y"] });
  expect(() => show.run(["--what"])).toThrow("--what");
});

test("without operands in its usage a command takes none", () => {
  const plain = command({ name: "plain", summary: "", options: {}, run: () => 0 });
  expect(plain.usage).toBe("Usage: tenon plain");
  expect(() => plain.run(["x"])).toThrow("x");
});

test("how long ago, in one unit", () => {
  expect([-5, 1000, 119_000, 600_000, 7_200_000, 86_400_000 * 3].map(ago)).toEqual([
    "0 s",
    "1 s",
    "119 s",
    "10 min",
    "2 h",
    "3 d",
  ]);
});
