// Broken states on the way out of a pod: packets do not get through, and the explanation says where.
import { afterEach, beforeEach, expect, test } from "bun:test";
import { explainIn, type Pod, pings, twoPods } from "../../helpers/explain.ts";
import type { Node } from "../../helpers/node.ts";

let node: Node;
let a: Pod;
let b: Pod;

beforeEach(async () => {
  ({ node, a, b } = await twoPods({ macspoofchk: true }));
});
afterEach(() => node.close());

/** Breaks something, sees that packets stop, and returns where the explanation says that they do. */
async function broken(place: Pick<Node, "exec">, script: string, target = b.address): Promise<string | undefined> {
  expect([await pings(a.netns, target, true), (await explainIn(node, "a", target)).reaches]).toEqual([true, true]);
  await place.exec("sh", ["-ec", script]);
  expect(await pings(a.netns, target)).toBe(false);
  const { exitCode, stopped } = await explainIn(node, "a", target);
  expect(exitCode).toBe(1);
  return stopped;
}

test("the pod's link is down", async () => {
  expect(await broken(a.netns, "ip link set eth0 down")).toBe("pod a: link: eth0 is down");
});

test("the pod has no interface", async () => {
  expect(await broken(a.netns, "ip link delete eth0")).toBe("pod a: link: it has no interface: was it ever attached?");
});

test("the pod has no route", async () => {
  const stopped = await broken(a.netns, "ip route flush dev eth0");
  expect(stopped).toBe(`pod a: route: no route leads there: to ${b.address}`);
});

test("a route of the pod drops it", async () => {
  const stopped = await broken(a.netns, `ip route add blackhole ${b.address}`);
  expect(stopped).toBe(`pod a: route: a blackhole route drops it: to ${b.address}`);
});

test("the host's end is down", async () => {
  const name = a.result.interfaces[1].name;
  expect(await broken(node, `ip link set ${name} down`)).toBe("pod a: link: eth0 is up, but its other end is not");
});

test("the host's end is in no bridge", async () => {
  const name = a.result.interfaces[1].name;
  expect(await broken(node, `ip link set ${name} nomaster`)).toBe(
    `pod a: neighbour: nobody that ${name} leads to has ${b.address}, the next hop of eth0`,
  );
});

test("the bridge is down", async () => {
  expect(await broken(node, "ip link set cni0 down")).toBe("node: bridge: cni0 is down");
});

test("the pod has taken another MAC address than the one that its port lets in", async () => {
  const script = "ip link set eth0 address 02:00:00:00:00:99; ip neigh flush all";
  expect(await broken(a.netns, script)).toMatch(
    /^node: bridge port: tn\w+ takes frames from 0a:58:\S+ alone, not from 02:00:00:00:00:99/,
  );
});

test("nobody has the gateway's address", async () => {
  // Without rp_filter's help: the address alone is gone.
  const stopped = await broken(node, "ip addr flush dev cni0 scope global", "10.1.0.1");
  expect(stopped).toBe("pod a: neighbour: nobody that cni0 leads to has 10.1.0.1, the next hop of eth0");
});

test("a neighbour is fixed to a wrong MAC address", async () => {
  const stopped = await broken(
    a.netns,
    "ip neigh replace 10.1.0.1 lladdr 02:00:00:00:00:66 dev eth0 nud permanent",
    "10.1.0.1",
  );
  expect(stopped).toMatch(/^pod a: neighbour: 10\.1\.0\.1 is fixed to 02:00:00:00:00:66, but cni0, which has it, is /);
});
