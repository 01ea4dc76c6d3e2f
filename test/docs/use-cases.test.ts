// The lists of docs/use-cases.md keep what they promise: real packets between pods, and to and from outside.
import { expect, test } from "bun:test";
import { readdir, readFile } from "node:fs/promises";
import { suite } from "../../build/plugins.ts";
import { lint } from "../../cli/lint/lint.ts";
import { ask, startEcho } from "../helpers/echo.ts";
import { pings } from "../helpers/explain.ts";
import { addList, checkList, deleteList, type List, type Told } from "../helpers/list.ts";
import { makeNode, type Netns, type Node, uplink } from "../helpers/node.ts";
import { script } from "../helpers/traffic.ts";

const folder = "docs/examples/use-cases";
const outside = uplink.outside[0];
const nodeAddress = uplink.node[0];

async function read(name: string): Promise<List> {
  return JSON.parse(await readFile(`${folder}/${name}.conflist`, "utf8"));
}

interface Pod extends Netns {
  address: string;
  remove(): Promise<void>;
}

async function attach(node: Node, list: List, name: string, told: Told = {}): Promise<Pod> {
  const netns = await node.netns(name);
  const at = { netns: netns.path, containerId: name };
  const result = await addList(node, list, at, told);
  await checkList(node, list, at, result, told);
  const address = result.ips[0].address.split("/")[0];
  return { ...netns, address, remove: () => deleteList(node, list, at, result, told) };
}

test("nothing but notes is said of the lists, and each has its place in the text", async () => {
  const names = (await readdir(folder)).sort();
  const files = await Promise.all(
    names.map(async (name) => ({ name, text: await readFile(`${folder}/${name}`, "utf8") })),
  );
  expect(lint(files, suite).filter(({ severity }) => severity !== "note")).toEqual([]);
  const text = await readFile("docs/use-cases.md", "utf8");
  expect(names.filter((name) => !text.includes(`examples/use-cases/${name}`))).toEqual([]);
});

test("shaping: limited to and from outside, not among pods", async () => {
  await using node = await makeNode("shaping", { uplink: true });
  const list = await read("shaping");
  const [a, b] = [await attach(node, list, "a"), await attach(node, list, "b")];
  // Nobody listens, and nobody is to say so: what counts is that frames arrive.
  const quiet = "table inet quiet { chain in { type filter hook input priority 0; udp dport 9 drop; }; }";
  for (const { exec } of [a, b, node.outside!]) await exec("nft", ["-f", "-"], { input: quiet });
  const rate = 20_000_000;
  const measured = async (from: Node["exec"], address: string, to: Node["exec"]) => {
    const [, { stdout }] = await Promise.all([
      from(process.execPath, [script, "send", address, `${3 * rate}`, "1.7"]),
      to(process.execPath, [script, "count", "eth0", "700", "800"]),
    ]);
    return Number(stdout) / rate;
  };
  const away = await measured(a.exec, outside, node.outside!.exec);
  await node.outside!.exec("ip", ["route", "add", "10.250.1.0/24", "via", nodeAddress]);
  const back = await measured(node.outside!.exec, a.address, a.exec);
  const among = await measured(a.exec, b.address, b.exec);
  for (const share of [away, back]) {
    expect(share).toBeGreaterThan(0.95);
    expect(share).toBeLessThan(1.05);
  }
  expect(among).toBeGreaterThan(1.5);
});

test("tenancy: red reaches red, blue nobody, both outside", async () => {
  await using node = await makeNode("tenancy", { uplink: true });
  const [red, blue] = [await read("tenancy-red"), await read("tenancy-blue")];
  const pods = {
    r1: await attach(node, red, "r1"),
    r2: await attach(node, red, "r2"),
    b1: await attach(node, blue, "b1"),
    b2: await attach(node, blue, "b2"),
  };
  const names = Object.keys(pods) as (keyof typeof pods)[];
  for (const name of names) await startEcho(node, pods[name], name, [80]);
  await startEcho(node, node.outside!, "outside", [80]);
  const reached = async (from: keyof typeof pods) => {
    const others = names.filter((name) => name !== from);
    const answers = await ask(pods[from], [
      ...others.map((name): ["tcp", string, number] => ["tcp", pods[name].address, 80]),
      ["tcp", outside, 80],
    ]);
    return answers.flatMap((answer) => (/^\w+ [\d.]+$/.test(answer) ? answer : []));
  };
  expect(await Promise.all(names.map(reached))).toEqual([
    [`r2 ${pods.r1.address}`, `outside ${nodeAddress}`],
    [`r1 ${pods.r2.address}`, `outside ${nodeAddress}`],
    [`outside ${nodeAddress}`],
    [`outside ${nodeAddress}`],
  ]);
});

test("edge: a server sees its client, and is seen by its own address", async () => {
  await using node = await makeNode("edge", { uplink: true });
  const list = await read("edge");
  const told = {
    portMappings: [
      { hostPort: 8443, containerPort: 443, protocol: "tcp" },
      { hostPort: 8443, containerPort: 443, protocol: "udp" },
    ],
  };
  const web = await attach(node, list, "web", told);
  await node.outside!.exec("ip", ["route", "add", "10.250.4.0/24", "via", nodeAddress]);
  await startEcho(node, web, "web", [443]);
  await startEcho(node, node.outside!, "outside", [80]);
  const client = node.outside!;
  expect(
    await ask(client, [
      ["tcp", nodeAddress, 8443],
      ["udp", nodeAddress, 8443],
    ]),
  ).toEqual([`web ${outside}`, `web ${outside}`]);
  expect(await ask(web, [["tcp", outside, 80]])).toEqual([`outside ${web.address}`]);
  await web.remove();
  expect(await ask(client, [["tcp", nodeAddress, 8443]])).toEqual(["ECONNREFUSED"]);
});

test("legacy host firewall: pods pass a FORWARD that drops, nobody else does", async () => {
  await using node = await makeNode("legacy", { uplink: true });
  const list = await read("legacy-host-firewall");
  await node.exec("iptables", ["-P", "FORWARD", "DROP"]);
  const bare = await attach(node, { ...list, plugins: list.plugins.slice(0, 1) }, "bare");
  const pod = await attach(node, list, "pod");
  const client = node.outside!;
  await client.exec("ip", ["route", "add", "10.250.5.0/24", "via", nodeAddress]);
  await startEcho(node, pod, "pod", [443]);
  await startEcho(node, client, "outside", [80]);

  expect([await pings(pod, outside, true), await pings(bare, outside)]).toEqual([true, false]);
  expect(await ask(pod, [["tcp", outside, 80]])).toEqual([`outside ${nodeAddress}`]);
  expect(await ask(client, [["tcp", pod.address, 443]])).toEqual(["timeout"]);
  await node.exec("iptables", ["-A", "PODS-ADMIN", "-p", "tcp", "--dport", "443", "-j", "ACCEPT"]);
  expect(await ask(client, [["tcp", pod.address, 443]])).toEqual([`pod ${outside}`]);

  await pod.remove();
  const { stdout } = await node.exec("iptables-save", ["-t", "filter"]);
  expect([stdout.includes(pod.address), stdout.includes("PODS-ADMIN -p tcp")]).toEqual([false, true]);
});
