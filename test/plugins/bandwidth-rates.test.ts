// Rates, counted in bytes of the link layer where frames arrive, once the burst is spent.
// Wants the machine alone: what is counted is what the kernel lets through in a time.
import { expect, test } from "bun:test";
import { makeNode, type Node } from "../helpers/node.ts";
import { must, soak } from "../helpers/plugin.ts";
import { base, plugged } from "../helpers/shaping.ts";
import { script } from "../helpers/traffic.ts";

const Mbit = 1_000_000;

/** A pod with a way to outside. Frames are for addresses that nobody has: what counts is that they arrive. */
async function streets(node: Node) {
  const pod = await plugged(node, "pod");
  const outside = node.outside!;
  const mac = async (exec: Node["exec"], link: string) =>
    JSON.parse((await exec("ip", ["-j", "link", "show", link])).stdout)[0].address;
  for (const [exec, address, dev] of [
    [node.exec, "10.9.0.1/24", pod.end],
    [pod.exec, "10.9.0.2/24", "eth0"],
  ] as const) {
    await exec("ip", ["address", "add", address, "dev", dev]);
    await exec("ip", ["link", "set", dev, "mtu", "1500"]);
  }
  await pod.exec("ip", ["route", "add", "default", "via", "10.9.0.1"]);
  await node.exec("sysctl", ["-qw", "net.ipv4.ip_forward=1"]);
  const neighbor = (address: string, lladdr: string, dev: string) =>
    node.exec("ip", ["neighbor", "add", address, "lladdr", lladdr, "dev", dev]);
  await neighbor("10.9.0.99", await mac(pod.exec, "eth0"), pod.end);
  for (const last of [77, 78]) await neighbor(`192.0.2.${last}`, await mac(outside.exec, "eth0"), "eth0");
  return { ...pod, outside };
}

/** What arrives in bits a second, of more than the rate sent from `here`. */
async function measured(here: Node["exec"], address: string, there: Node["exec"], rate: number): Promise<number> {
  // Twice the rate spends the burst of 0.2 s in as much time. At a gigabit that would be the processors' end, so it is less.
  const offered = rate > 100 * Mbit ? 1.3 * rate : 2 * rate;
  const [wait, window] = soak ? [2000, 4000] : [700, 800];
  const [, { stdout }] = await Promise.all([
    here(process.execPath, [script, "send", address, `${offered}`, `${(wait + window + 200) / 1000}`]),
    there(process.execPath, [script, "count", "eth0", `${wait}`, `${window}`]),
  ]);
  return Number(stdout);
}

/** Within 3 %. */
function expectRate(found: number, rate: number): void {
  expect(found / rate).toBeGreaterThan(0.97);
  expect(found / rate).toBeLessThan(1.03);
}

// A burst of 0.2 s: as much waits in the shaper's queue, so that a sender that is kept waiting does not leave it empty.
const limits = (rate: number) => ({
  ingressRate: rate,
  ingressBurst: rate / 5,
  egressRate: rate,
  egressBurst: rate / 5,
});

for (const rate of [10 * Mbit, 100 * Mbit, ...(soak ? [1000 * Mbit] : [])]) {
  test(`bandwidth of ${rate / Mbit} Mbit/s is that within 3 %, into the pod and out of it`, async () => {
    await using node = await makeNode("rates", { uplink: true });
    const { at, exec, outside, prevResult } = await streets(node);
    await must(node, "ADD", { ...base, ...limits(rate), prevResult }, at);
    const into = () => measured(node.exec, "10.9.0.99", exec, rate);
    const out = () => measured(exec, "192.0.2.77", outside.exec, rate);
    // At once, unless two senders and two receivers are more than the machine has processors for.
    const found = rate > 100 * Mbit ? [await into(), await out()] : await Promise.all([into(), out()]);
    for (const one of found) expectRate(one, rate);
  });
}

test("bandwidth with shapedSubnets: into the pod what comes from them, out of it what goes there, and nothing else", async () => {
  await using node = await makeNode("subnets", { uplink: true });
  const { at, exec, outside, prevResult } = await streets(node);
  const rate = 10 * Mbit;
  const conf = { ...base, ...limits(rate), prevResult };
  await must(node, "ADD", { ...conf, shapedSubnets: ["10.9.0.0/24", "192.0.2.77/32"] }, at);
  expectRate(await measured(node.exec, "10.9.0.99", exec, rate), rate); // from 10.9.0.1
  expectRate(await measured(exec, "192.0.2.77", outside.exec, rate), rate);
  expect(await measured(exec, "192.0.2.78", outside.exec, rate)).toBeGreaterThan(1.5 * rate);
  await must(node, "ADD", { ...conf, shapedSubnets: ["192.0.2.77/32"] }, at);
  expect(await measured(node.exec, "10.9.0.99", exec, rate)).toBeGreaterThan(1.5 * rate);
});
