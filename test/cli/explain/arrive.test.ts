// Broken states in the pod that a packet is for.
import { afterEach, beforeEach, expect, test } from "bun:test";
import { explainIn, type Pod, pings, podOn, twoPods } from "../../helpers/explain.ts";
import { bridge } from "../../helpers/firewall.ts";
import type { Node } from "../../helpers/node.ts";

let node: Node;
let a: Pod;
let c: Pod;

beforeEach(async () => {
  ({ node, a } = await twoPods());
  c = await podOn(node, "c", bridge("other", "cni1", ["10.2.0.0/16"]));
});
afterEach(() => node.close());

for (const [what, script, where] of [
  ["its link is down", "ip link set eth0 down", /^node: (link|bridge port): tn\w+ is up, but its other end is not$/],
  [
    "it has no way back",
    "ip route del default",
    /^pod c: route back: no route leads there: answers to 10\.1\.0\.2 do not leave it$/,
  ],
  [
    "rp_filter in it drops what comes in by another link than answers leave by",
    "ip link add y0 type veth peer name y1; ip addr add 10.1.0.99/24 dev y0; ip link set y0 up; ip link set y1 up; echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter",
    /^pod c: rp_filter: 10\.1\.0\.2 comes in by eth0, but the way back leads elsewhere/,
  ],
] as const) {
  test(what, async () => {
    expect(await pings(a.netns, c.address, true)).toBe(true);
    await c.netns.exec("sh", ["-ec", script]);
    expect(await pings(a.netns, c.address)).toBe(false);
    expect((await explainIn(node, "a", c.path)).stopped).toMatch(where);
  });
}

test("its address is gone", async () => {
  await c.netns.exec("ip", ["addr", "flush", "dev", "eth0", "scope", "global"]);
  expect((await explainIn(node, "a", c.path)).stopped).toBe("pod c: address: it has no address");
});
