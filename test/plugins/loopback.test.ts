import { expect, test } from "bun:test";
import { contract } from "../helpers/contract.ts";
import { makeNode } from "../helpers/node.ts";
import { call, errorOf, must, ours, reference } from "../helpers/plugin.ts";

contract("loopback", { conf: {}, ifname: "lo", bad: [], exclusive: false });

const conf = { cniVersion: "0.3.1", name: "cni-loopback", type: "loopback" };

test("loopback ADD sets lo up, DEL sets it down, and says what the reference says", async () => {
  await using node = await makeNode("lo");
  const results = [];
  for (const bin of [reference, ours]) {
    const pod = await node.netns("pod");
    const at = { netns: pod.path, ifname: "lo", bin };
    results.push(await must(node, "ADD", conf, at));
    expect((await pod.exec("ping", ["-c1", "-W1", "127.0.0.1"])).exitCode).toBe(0);
    expect((await pod.exec("ping", ["-c1", "-W1", "::1"])).exitCode).toBe(0);
    await must(node, "DEL", conf, at);
    expect((await pod.exec("ip", ["-br", "link", "show", "up"])).stdout).toBe("");
    await pod.close();
  }
  // Old builds of the reference leave the key out that 0.3.1 wants.
  for (const result of results) for (const ip of result.ips) ip.version ??= ip.address.includes(":") ? "6" : "4";
  expect(results[1]).toEqual(results[0]);
});

test("loopback hands on what the plugins before it made", async () => {
  await using node = await makeNode("lo");
  const pod = await node.netns("pod");
  const prevResult = { cniVersion: "1.0.0", ips: [{ address: "10.0.0.2/24" }] };
  const result = await must(
    node,
    "ADD",
    { ...conf, cniVersion: "1.0.0", prevResult },
    { netns: pod.path, ifname: "lo" },
  );
  expect(result).toEqual(prevResult);
});

test("loopback CHECK finds lo down", async () => {
  await using node = await makeNode("lo");
  const pod = await node.netns("pod");
  const at = { netns: pod.path, ifname: "lo" };
  const failed = await call(node, "CHECK", { ...conf, cniVersion: "1.0.0" }, at);
  expect(errorOf(failed).msg).toContain('"lo"');
});
