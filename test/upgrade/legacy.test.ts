// The reference on a host whose iptables is iptables-legacy: CHECK, DEL and GC by ours replace its tables without a program.
import { expect, test } from "bun:test";
import { ask, startEcho } from "../helpers/echo.ts";
import { makeNode, type Node, needPrograms, uplink } from "../helpers/node.ts";
import { must, ours } from "../helpers/plugin.ts";
import { leftOver, snapshot } from "../helpers/snapshot.ts";
import { attachChain, chain, each, legacy, legacySuite as suite, traced } from "../helpers/upgrade.ts";

const noise = [/fe80::/, /file \/run\/(tenon|netns)/, /last_reserved_ip/];

/** What the node holds, and what the legacy tables say. */
async function all(node: Node): Promise<string[]> {
  const programs = ["iptables-legacy-save", "ip6tables-legacy-save"];
  const saved = await Promise.all(programs.map((program) => node.exec(program, [])));
  const lines = saved.flatMap(({ stdout }) => stdout.split("\n"));
  return [
    ...(await snapshot(node)),
    ...lines.filter((line) => !line.startsWith("#")).map((line) => line.split(" [")[0]!),
  ];
}

test("a chain of plugins in iptables-legacy is checked and deleted, its neighbours live on, GC takes the dead", async () => {
  await needPrograms("iptables-legacy", "ip6tables-legacy");
  await using node = await makeNode("legacy", { uplink: true });
  const env = await legacy(node);
  const trace = await traced(node);
  const stays = await attachChain(node, "stays", chain(suite, "bridge", 8080), suite.bin, env);
  await node.netns("goes");
  const before = await all(node);
  expect(before.join()).toContain("-m multiport --dports 8080,8081,8082 -j CNI-DN-");
  await node.exec("ip", ["netns", "delete", "goes"]);
  const goes = await attachChain(node, "goes", chain(suite, "bridge", 9090), suite.bin, env);
  expect(leftOver(before, await all(node)).join()).toContain("--dports 9090");

  for (const pod of [stays, goes]) await each(node, "CHECK", pod, trace.bin, { path: ours });
  await each(node, "DEL", goes, trace.bin, { path: ours });
  expect(leftOver(before, await all(node), noise)).toEqual([]);
  await goes.netns.close();

  const dead = await attachChain(node, "dead", chain(suite, "bridge", 7070), suite.bin, env);
  await dead.netns.close();
  const valid = { cniVersion: "1.1.0", "cni.dev/valid-attachments": [{ containerID: "stays", ifname: "eth0" }] };
  for (const conf of stays.plugins.slice(0, 2)) {
    await must(node, "GC", { ...conf, ...valid, runtimeConfig: undefined }, { bin: trace.bin, path: ours });
  }
  const left = leftOver(before, await all(node), noise).filter((line) => /-DN-|DNAT|POSTROUTING|MASQUERADE/.test(line));
  expect(left).toEqual([]);
  await startEcho(node, stays.netns, "stays", [80]);
  const [four] = uplink.node;
  const asked = await ask(node.outside!, [
    ["tcp", four, 8080],
    ["udp", four, 8080],
    ["tcp", four, 7070],
  ]);
  expect(asked).toEqual([`stays ${uplink.outside[0]}`, `stays ${uplink.outside[0]}`, "ECONNREFUSED"]);
  await each(node, "CHECK", stays);
  await each(node, "DEL", dead, trace.bin, { path: ours });
  expect(leftOver(before, await all(node), [...noise, /dead_eth0/])).toEqual([]);
  expect(await trace.strangers()).toEqual([]);
}, 20_000);
