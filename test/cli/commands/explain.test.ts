import { expect, test } from "bun:test";
import { tenonIn, twoPods } from "../../helpers/explain.ts";
import { tenon } from "../../helpers/tenon.ts";

test("for people a table, with where it stops in words; status by whether it does", async () => {
  const { node, a, b } = await twoPods();
  try {
    const good = await tenonIn(node, "explain", a.path, b.path);
    expect([good.exitCode, good.stdout.split("\n").at(-1)]).toEqual([0, "Nothing stops it."]);
    expect(good.stdout).toMatch(/^at +what\npod a +link +eth0 is up, 10\.1\.0\.2, /);
    await b.netns.exec("ip", ["link", "set", "eth0", "down"]);
    const bad = await tenonIn(node, "explain", "a", "b");
    expect(bad.exitCode).toBe(1);
    expect(bad.stdout).toMatch(
      / STOPS: (tn\w+) is up, but its other end is not\n\nIt stops at node: \1 is up, but its other end is not$/,
    );
    const udp = JSON.parse((await tenonIn(node, "explain", "--json", "--udp", "node", "10.1.0.1:9")).stdout);
    expect(udp).toMatchObject({ from: "node", to: "node", reaches: false });
    expect(udp.steps.at(-1).detail).toBe("udp 9: nobody listens");
  } finally {
    await node.close();
  }
});

test("two ends are needed, and they must be known", async () => {
  expect(await tenon("explain", "x")).toMatchObject({ exitCode: 2, stderr: "Cannot explain: name two ends" });
  expect(await tenon("explain", "nobody-of-that-name", "node")).toMatchObject({ exitCode: 2 });
});
