import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Event } from "../../../cli/heal/events.ts";
import { watchKernel } from "../../../cli/heal/watch.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { until } from "../../helpers/healing.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

let node: Node;
let ns: Namespace;
beforeAll(async () => {
  node = await makeNode("watch");
  ns = openNamespace(node.path("/proc/1/ns/net"));
});
afterAll(async () => {
  ns.close();
  await node.close();
});

async function watch(room?: number) {
  const heard: Event[] = [];
  let lost = 0;
  const watch = await watchKernel({ heard: (events) => heard.push(...events), lost: () => lost++ }, room, ns);
  return { heard, lost: () => lost, ...watch };
}
const run = (command: string) => node.exec("bash", ["-ec", command]);

test("the kernel is heard without being asked, of links, addresses, routes, neighbours, rules, shaping and nftables", async () => {
  const { heard, lost, stop } = await watch();
  await run(`
    ip link add br0 type bridge; ip link set br0 up; ip addr add 10.9.0.1/24 dev br0
    ip route add 10.8.0.0/16 via 10.9.0.2 proto 116; ip route delete 10.8.0.0/16
    ip neigh add 10.9.0.7 lladdr 02:00:00:00:00:01 dev br0 nud permanent; ip neigh delete 10.9.0.7 dev br0
    ip rule add from 10.7.0.0/16 lookup 7; ip rule delete from 10.7.0.0/16
    tc qdisc add dev br0 root tbf rate 1mbit burst 10k latency 5ms; tc qdisc delete dev br0 root
    nft add table inet tenon; nft flush ruleset
    ip addr delete 10.9.0.1/24 dev br0; ip link delete br0
  `);
  const isEnd = (event: Event) => event.of === "link" && event.name === "br0" && event.gone;
  await until(
    () => heard,
    (all) => all.some(isEnd),
  );
  const { index } = heard.find(isEnd) as { index: number };
  for (const event of [
    { of: "link", gone: false, index, name: "br0", up: true },
    { of: "address", gone: true, index, ip: "10.9.0.1" },
    { of: "route", gone: true, destination: "10.8.0.0/16", protocol: 116 },
    { of: "neighbor", index, ip: "10.9.0.7" },
    { of: "rule", from: "10.7.0.0/16" },
    { of: "shaping", index },
    { of: "nftables", program: "nft", structure: true },
  ])
    expect(heard).toContainEqual(expect.objectContaining(event));
  expect(lost()).toBe(0);
  stop();
});

test("news that found no room is told as lost, and what comes later is heard again", async () => {
  const { heard, lost, stop } = await watch(2000);
  const storm = run("sleep 0.3; for at in $(seq 40); do ip link add x$at type veth peer name y$at; done");
  await Bun.sleep(150);
  Bun.sleepSync(1000); // the event loop stands still, as it does while many pods are looked at
  await storm;
  await until(lost, (times) => times > 0);
  expect(lost()).toBeGreaterThan(0);
  heard.length = 0;
  await run("ip link add late type bridge");
  await until(
    () => heard,
    (all) => all.some((event) => event.of === "link" && event.name === "late"),
  );
  stop();
});
