import { expect, test } from "bun:test";
import { explainIn, pings, twoPods } from "../../helpers/explain.ts";

test("a way that nothing stops, in both families and from the node, step by step", async () => {
  const { node, a, b } = await twoPods();
  try {
    for (const target of [b.address, "fd00:1::3"]) {
      expect(await pings(a.netns, target, true)).toBe(true);
      const { exitCode, steps } = await explainIn(node, a.path, target);
      expect([
        exitCode,
        steps.map(({ at, what }) => `${at} ${what}`).filter((step) => step !== "node firewall"),
      ]).toEqual([
        0,
        [
          "pod a link",
          "pod a route",
          "node link",
          "node bridge port",
          "pod a neighbour",
          "node bridge",
          "node forwarding table",
          "pod b link",
          "pod b route back",
        ],
      ]);
    }
    expect((await explainIn(node, "node", b.path)).steps.map(({ what }) => what)).toEqual([
      "route",
      "neighbour",
      "forwarding table",
      "link",
      "route back",
    ]);
  } finally {
    await node.close();
  }
});

test("an IPv6 address for a pod that has none", async () => {
  const { node, a } = await twoPods();
  try {
    await a.netns.exec("sysctl", ["-qw", "net.ipv6.conf.eth0.disable_ipv6=1"]);
    expect((await explainIn(node, a.path, "fd00:1::3")).stopped).toBe("pod a: address: it has no IPv6 address");
  } finally {
    await node.close();
  }
});
