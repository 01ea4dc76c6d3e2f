// The agent as an executable on two throw-away nodes: what pods notice of its death and of etcd's: nothing.
import { expect, test } from "bun:test";
import { configure, startAgent, until } from "../../helpers/agent.ts";
import { startEtcd } from "../../helpers/etcd.ts";
import { type Node, needPrograms } from "../../helpers/node.ts";
import { makeUnderlay } from "../../helpers/underlay.ts";

const soak = process.env.TENON_SOAK === "1";
/** Nodes that the kernel has routes to. */
async function routed(node: Node): Promise<string[]> {
  const routes = JSON.parse((await node.exec("ip", ["-j", "route", "show", "proto", "116"])).stdout);
  return routes
    .filter(({ dev }: any) => dev === "tenon.7")
    .map(({ dst }: any) => dst)
    .sort();
}

/** A pod's like of a node: a namespace with one address of its subnet. */
async function makePod(node: Node, subnet: string): Promise<string> {
  const base = subnet.replace(/\.0\/24$/, "");
  await node.netns("pod");
  await node.exec("bash", [
    "-ec",
    `ip link add pod0 type veth peer name eth0 netns pod; ip addr add ${base}.1/32 dev pod0; ip link set pod0 up
     ip route add ${base}.2 dev pod0; ip -n pod link set eth0 mtu 1400 up; ip -n pod addr add ${base}.2/32 dev eth0
     ip -n pod route add default via ${base}.1 dev eth0 onlink; sysctl -qw net.ipv4.ip_forward=1`,
  ]);
  return `${base}.2`;
}

test("agents that are killed at any moment, and an etcd that is gone, cost no packet", async () => {
  await needPrograms("ping");
  await using etcd = await startEtcd();
  await using underlay = await makeUnderlay(2);
  const source = `{type: etcd, hosts: ["${etcd.host}"], heartbeat: 1}`;
  const more = { cluster: [{ cidr: "10.244.0.0/16", size: 24 }] };
  const configs = await Promise.all(
    underlay.nodes.map((node, at) =>
      configure(node, { node: `n${at + 1}`, source, more: { ...more, addresses: [underlay.addresses(at)[0]] } }),
    ),
  );
  const [one, two] = underlay.nodes as [Node, Node];
  await using _ = await startAgent(two, configs[1]!);
  const first = await startAgent(one, configs[0]!);
  await first.ready();
  await until("both are routed", async () => (await routed(one)).length === 1 && (await routed(two)).length === 1);
  const near = (await routed(two))[0]!;
  await makePod(one, near);
  const far = await makePod(two, (await routed(one))[0]!);
  await one.exec("ip", ["netns", "exec", "pod", "ping", "-c", "1", "-W", "2", far]);

  const kills = soak ? 200 : 6;
  const outage = soak ? 60_000 : 1500;
  const count = Math.ceil((kills * 800 + outage + 2000) / 50);
  const ping = one.exec("ip", ["netns", "exec", "pod", "ping", "-q", "-i", "0.05", "-c", `${count}`, far], {
    timeout: count * 50 + 60_000,
    reject: false,
  });
  await first.signal("SIGKILL");
  await first.ended();
  for (let at = 0; at < kills; at++) {
    const agent = await startAgent(one, configs[0]!);
    await Bun.sleep(Math.random() * 500);
    if (at === 1) {
      etcd.pause();
      await Bun.sleep(outage);
      etcd.resume();
    }
    await agent.signal("SIGKILL");
    await agent.ended();
  }
  await using last = await startAgent(one, configs[0]!);
  await last.ready();
  const { stdout } = await ping;
  expect(stdout).toContain(`${count} packets transmitted, ${count} received, 0% packet loss`);
  // The same subnet all the while.
  expect(await routed(two)).toEqual([near]);
}, 600_000);

test("agents that start together claim subnets unlike each other's, and know of all", async () => {
  const count = soak ? 20 : 4;
  await using etcd = await startEtcd();
  await using underlay = await makeUnderlay(count);
  // Room for few more, so that many of them want the same one.
  const more = { cluster: [{ cidr: soak ? "10.244.0.0/19" : "10.244.0.0/21", size: 24 }] };
  const agents = await Promise.all(
    underlay.nodes.map(async (node, at) => {
      const source = `{type: etcd, hosts: ["${etcd.host}"]}`;
      const addresses = [underlay.addresses(at)[0]];
      const config = await configure(node, { node: `n${at + 1}`, source, more: { ...more, addresses } });
      return await startAgent(node, config);
    }),
  );
  try {
    await until(
      "all are routed",
      async () => {
        const all = await Promise.all(underlay.nodes.map(routed));
        return all.every((one) => one.length === count - 1);
      },
      120,
    );
    const client = etcd.client();
    const claims = (await client.getAll().prefix("/tenon/pods/subnets/").keys()).map((key) => key.split("/").at(-1)!);
    expect(claims.length).toBe(count);
    const subnets = claims.map((claim) => claim.replace("-", "/"));
    // What each has no route to is its own: all are different, and together they are the claims.
    const own = (await Promise.all(underlay.nodes.map(routed))).map((there) =>
      subnets.filter((one) => !there.includes(one)),
    );
    expect(own.flat().sort()).toEqual(subnets.sort());
  } finally {
    await Promise.all(agents.map((agent) => agent[Symbol.asyncDispose]()));
  }
}, 300_000);
