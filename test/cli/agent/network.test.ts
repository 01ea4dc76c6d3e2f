// One network, by the agent as an executable on a throw-away node: the order of its steps, and what it leaves alone.
import { expect, test } from "bun:test";
import { join } from "node:path";
import type { PeerNode } from "../../../lib/peers/snapshot.ts";
import { bridge, configure, replace, startAgent, template, until } from "../../helpers/agent.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

const conflist = "/etc/cni/net.d/10-pods.conflist";

const peer = (at: number): PeerNode => ({
  name: `n${at}`,
  subnets: [`10.244.${at}.0/24`],
  addresses: [`192.0.2.${at}`],
});
const peers = (...all: number[]) => JSON.stringify(all.map(peer));
const read = async (node: Node, file: string) => (await node.exec("cat", [file], { reject: false })).stdout;
/** Nodes that the kernel has routes to. */
async function routed(node: Node): Promise<string[]> {
  const routes = JSON.parse((await node.exec("ip", ["-j", "route", "show", "proto", "116"])).stdout);
  return routes
    .filter(({ dev }: any) => dev === "tenon.7")
    .map(({ dst }: any) => dst)
    .sort();
}

test("first the nodes, then the kernel, last the conflist; what is wrong is told meanwhile", async () => {
  await using node = await makeNode("order", { uplink: true });
  const file = join(node.dir, "peers.json");
  const config = await configure(node, { node: "n1", source: `{type: file, path: ${file}}` });
  // Of the days before the last boot.
  await node.exec("bash", ["-c", `mkdir -p /etc/cni/net.d; echo '{}' > ${conflist}`]);
  await using agent = await startAgent(node, config);
  await until("it answers", async () => (await agent.get("/healthz")).status === 200);
  expect(await agent.get("/readyz")).toMatchObject({ status: 503, body: expect.stringContaining("peers.json") });
  expect(await read(node, conflist)).toBe("");

  // No path can be programmed without the underlay.
  await node.exec("ip", ["link", "set", "eth0", "down"]);
  await replace(file, peers(1, 2));
  await until("it says why", async () => (await agent.get("/readyz")).body.includes("Cannot reach other nodes"));
  expect(await read(node, conflist)).toBe("");
  await node.exec("bash", ["-c", "ip link set eth0 up; ip route replace default via 192.0.2.254"]);
  await agent.ready();
  expect(await routed(node)).toEqual(["10.244.2.0/24"]);
  expect(JSON.parse(await read(node, conflist)).plugins[0].ipam.ranges).toEqual([[{ subnet: "10.244.1.0/24" }]]);
  expect(await agent.figure('tenon_peers{network="pods"}')).toBe(1);
  const free = (subnet: string) => agent.figure(`tenon_pool_addresses_free{network="pods",subnet="${subnet}"}`);
  expect(await free("10.244.1.0/24")).toBe(253);

  // A subnet that the node no longer has is no longer told of.
  await replace(file, peers(1, 2).replace("10.244.1.0", "10.244.77.0"));
  await until("it has the other one", async () => (await free("10.244.77.0/24")) === 253);
  expect(await free("10.244.1.0/24")).toBeUndefined();
  await replace(file, peers(1, 2));
  await until("it has the first one again", async () => (await free("10.244.1.0/24")) === 253);

  // A file that is broken, and one that is empty, take nothing away.
  for (const bad of ["{", ""]) {
    await replace(file, bad);
    await until("it is told", async () => (await agent.figure('tenon_source_connected{network="pods"}')) === 0);
    expect(await routed(node)).toEqual(["10.244.2.0/24"]);
    expect((await agent.get("/readyz")).status).toBe(200);
    await replace(file, peers(1, 2));
    await until("it is well", async () => (await agent.figure('tenon_source_connected{network="pods"}')) === 1);
  }

  // A new template, at SIGHUP.
  await replace(join(node.dir, "template.json"), template([bridge, { type: "vxlan", vni: 7 }, { type: "portmap" }]));
  await agent.signal("SIGHUP");
  await until("it is written", async () => JSON.parse(await read(node, conflist)).plugins.length === 3);
  await replace(join(node.dir, "template.json"), template([bridge, { type: "vxlan", vni: 8 }]));
  await agent.signal("SIGHUP");
  await until("it is written", async () => JSON.parse(await read(node, conflist)).plugins.length === 2);
  await replace(join(node.dir, "template.json"), template([bridge, { type: "vxlan", vni: 7 }]));
  await agent.signal("SIGHUP");
  await until("it is back", async () => JSON.parse(await read(node, conflist)).plugins[1].vni === 7);
  // That was asked for: nobody had taken anything away.
  expect(agent.said()).not.toContain("put back");
  expect(await agent.figure('tenon_drift_repairs_total{network="pods",kind="path"}')).toBeUndefined();

  // Its end is nobody's concern; what changed meanwhile is made good.
  await agent.signal("SIGTERM");
  expect(await agent.ended()).toBe(0);
  expect(await routed(node)).toEqual(["10.244.2.0/24"]);
  expect(await read(node, conflist)).not.toBe("");
  await replace(file, peers(1, 3));
  await using again = await startAgent(node, config);
  await again.ready();
  expect(await routed(node)).toEqual(["10.244.3.0/24"]);
});

test("what was programmed before goes on holding while the source is away, wherever the snapshot is", async () => {
  await using node = await makeNode("away", { uplink: true });
  const file = join(node.dir, "peers.json");
  const vxlan = { type: "vxlan", vni: 7 };
  for (const plugins of [[bridge, { ...vxlan, peers: "/run/tenon/own/pods.json" }], [bridge, vxlan], [bridge]]) {
    await replace(file, peers(1, 2));
    const config = await configure(node, { node: "n1", source: `{type: file, path: ${file}}`, plugins });
    await using agent = await startAgent(node, config);
    await agent.ready();
    await agent.signal("SIGTERM");
    await agent.ended();
    await node.exec("rm", [file]);
    await using again = await startAgent(node, config);
    await until("it misses the source", () => again.said().includes("source"));
    expect(JSON.parse(await read(node, conflist)).plugins.length).toBe(plugins.length);
    await again.signal("SIGTERM");
    await again.ended();
    // As after a boot.
    await node.exec("rm", ["-r", "/run/tenon"]);
    await using booted = await startAgent(node, config);
    await until("it misses the source", () => booted.said().includes("source"));
    expect(await read(node, conflist)).toBe("");
  }
});

test("a conflist that cannot be written is tried again, and told of once", async () => {
  await using node = await makeNode("full", { uplink: true });
  const file = join(node.dir, "peers.json");
  await replace(file, peers(1, 2));
  const config = await configure(node, { node: "n1", source: `{type: file, path: ${file}}` });
  const fill = "mkdir -p /etc/cni/net.d; mount -t tmpfs -o size=8k tmpfs /etc/cni/net.d; head -c 8192 /dev/zero";
  await node.exec("bash", ["-c", `${fill} > /etc/cni/net.d/fill`]);
  await using agent = await startAgent(node, config);
  const failures = async () => (await agent.figure('tenon_programming_failures_total{network="pods"}')) ?? 0;
  await until("it has tried again", async () => (await failures()) >= 2);
  // News do not wait for that.
  await replace(file, peers(1, 2, 3));
  await until("they are in the kernel", async () => (await routed(node)).length === 2);
  expect(agent.said().match(/Cannot write/g)?.length).toBe(1);
  expect(agent.said()).not.toContain("well again");
  await node.exec("rm", ["/etc/cni/net.d/fill"]);
  await agent.ready();
  expect(agent.said()).toContain("pods: well again");
});

test("5,000 nodes: one that changes is one change in the kernel", async () => {
  await using node = await makeNode("many", { uplink: true });
  const file = join(node.dir, "peers.json");
  const many = Array.from({ length: 5000 }, (_, at) => ({
    name: `n${at}`,
    subnets: [`10.${100 + (at >> 8)}.${at & 255}.0/24`],
    addresses: [`198.18.${at >> 8}.${at & 255}`],
  }));
  many[0]!.addresses = ["192.0.2.1"];
  await replace(file, JSON.stringify(many));
  const config = await configure(node, { node: "n0", source: `{type: file, path: ${file}}` });
  await using agent = await startAgent(node, config);
  await agent.ready();
  expect((await routed(node)).length).toBe(4999);
  const added = 'tenon_programming_changes_total{network="pods",change="added"}';
  const before = (await agent.figure(added))!;
  many[4000]!.addresses = ["198.18.200.1"];
  await replace(file, JSON.stringify(many));
  await until("it is in the kernel", async () => {
    const { stdout } = await node.exec("bridge", ["fdb", "show", "dev", "tenon.7"]);
    return stdout.includes("dst 198.18.200.1 ");
  });
  await until("it is counted", async () => (await agent.figure(added)) !== before);
  expect((await agent.figure(added))! - before).toBeLessThan(4);
});
