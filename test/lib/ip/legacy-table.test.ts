// iptables-legacy writes, we read the kernel; we take rules out, it reads what is left. In a process of the node, whose own
// /run has the lock.
import { afterEach, beforeEach, expect, test } from "bun:test";
import { legacyRules } from "../../../lib/ip/legacy-table.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, type Node, needPrograms } from "../../helpers/node.ts";

let node: Node;
let ns: Namespace;

beforeEach(async () => {
  await needPrograms("iptables-legacy", "ip6tables-legacy", "flock");
  node = await makeNode("legacy");
  ns = openNamespace(node.path("/proc/1/ns/net"));
});

afterEach(async () => {
  ns.close();
  await node.close();
});

const program = (family: "ip" | "ip6") => (family === "ip" ? "iptables-legacy" : "ip6tables-legacy");
const write = (family: "ip" | "ip6", ...lines: string[]) =>
  node.exec(`${program(family)}-restore`, ["-c"], { input: ["*nat", ...lines, "COMMIT", ""].join("\n") });
/** Rules, policies and what each has counted. */
const saved = async (family: "ip" | "ip6") =>
  (await node.exec(`${program(family)}-save`, ["-c"])).stdout.split("\n").filter((line) => !line.startsWith("#"));

/** Takes out what a function chooses, in a process of the node. */
async function remove(family: "ip" | "ip6", choose: string): Promise<void> {
  const script = `import { removeLegacyRules } from "${process.cwd()}/lib/ip/legacy-table.ts";
    import { host } from "${process.cwd()}/lib/netns/netns.ts";
    removeLegacyRules(host, "${family}", "nat", (rules) => rules.filter(${choose}));`;
  await node.exec(process.execPath, ["-e", script]);
}

const four = [
  ":PREROUTING ACCEPT [1:10]",
  ":POSTROUTING ACCEPT [2:20]",
  ":first - [0:0]",
  ":second - [0:0]",
  ":third - [0:0]",
  "[3:30] -A PREROUTING -i eth0 -d 192.0.2.1/32 -p tcp -m tcp --dport 80 -j second",
  '[4:40] -A POSTROUTING -s 10.1.0.2/32 -m comment --comment "name: \\"net\\"" -j first',
  "[5:50] -A POSTROUTING -s 10.1.0.3/32 -j third",
  "[6:60] -A POSTROUTING ! -s 10.1.0.4/32 -p udp -g third",
  "[7:70] -A first -d 10.1.0.0/16 -j ACCEPT",
  "[8:80] -A first ! -d 224.0.0.0/4 -j MASQUERADE",
  "[9:90] -A second -p udp -m udp --dport 53 -j DNAT --to-destination 10.1.0.2:54",
  "[10:100] -A third -j first",
  "[11:110] -A third",
];
const six = [
  ":first - [0:0]",
  "[1:10] -A PREROUTING -s fd00:1::2/128 -j first",
  "[2:20] -A first -p tcp -m tcp --dport 80 -j DNAT --to-destination [fd00:1::2]:81",
];

test("rules are read with their chains and what they say", async () => {
  await write("ip", ...four);
  await write("ip6", ...six);
  const told = (family: "ip" | "ip6") =>
    legacyRules(ns, family, "nat")
      .filter(({ edge, facts }) => !edge && Object.keys(facts).length > 0)
      .map(({ from, facts }) => ({ from, ...facts }));
  expect(told("ip")).toEqual([
    { from: "PREROUTING", link: "eth0", destination: "192.0.2.1", protocol: 6, ports: [80], chain: "second" },
    { from: "POSTROUTING", source: "10.1.0.2", comment: 'name: "net"', chain: "first" },
    { from: "POSTROUTING", source: "10.1.0.3", chain: "third" },
    { from: "POSTROUTING", protocol: 17, chain: "third" },
    { from: "first", masquerades: true },
    { from: "second", protocol: 17, ports: [53], to: { ip: "10.1.0.2", port: 54 } },
    { from: "third", chain: "first" },
  ]);
  expect(told("ip6")).toEqual([
    { from: "PREROUTING", source: "fd00:1::2", chain: "first" },
    { from: "first", protocol: 6, ports: [80], to: { ip: "fd00:1::2", port: 81 } },
  ]);
});

test("what is taken out is gone, and all else is as it was, with what it has counted", async () => {
  await write("ip", ...four);
  const before = await saved("ip");
  await remove("ip", '({ facts }) => facts.source === "10.1.0.3" || facts.masquerades');
  const gone = (line: string) => !line.includes("10.1.0.3") && !line.includes("MASQUERADE");
  expect(await saved("ip")).toEqual(before.filter(gone));
  // The first rule of a chain that others lead to, and a whole chain with what leads there.
  await remove(
    "ip",
    '({ from, facts }) => from === "second" || facts.chain === "second" || (from === "third" && facts.chain)',
  );
  expect(await saved("ip")).toEqual(before.filter((line) => gone(line) && !/second|third -j/.test(line)));
  await node.exec("iptables-legacy", ["-t", "nat", "-A", "third", "-j", "first"]);
});

test("the same of IPv6", async () => {
  await write("ip6", ...six);
  const before = await saved("ip6");
  await remove("ip6", "({ facts }) => facts.to");
  expect(await saved("ip6")).toEqual(before.filter((line) => !line.includes("DNAT")));
  await remove("ip6", '({ from, facts }) => from === "first" || facts.chain === "first"');
  expect(await saved("ip6")).toEqual(before.filter((line) => !line.includes("first")));
});

test("where the table is not in use it is not made", async () => {
  expect(legacyRules(ns, "ip", "nat")).toEqual([]);
  await remove("ip", "() => true");
  await write("ip6", ...six);
  expect(legacyRules(ns, "ip", "nat")).toEqual([]);
  expect(await saved("ip")).toEqual([""]);
});

test("beside iptables-legacy adding rules nothing of either is lost", async () => {
  await write("ip", ":mine - [0:0]", ...new Array(30).fill("[0:0] -A mine -s 10.1.0.2/32 -j RETURN"));
  const adding = node.exec("sh", [
    "-c",
    "for at in $(seq 40); do iptables-legacy -w -t nat -A POSTROUTING -s 10.9.0.$at -j ACCEPT || echo failed; done",
  ]);
  const script = `import { removeLegacyRules } from "${process.cwd()}/lib/ip/legacy-table.ts";
    import { host } from "${process.cwd()}/lib/netns/netns.ts";
    for (let time = 0; time < 30; time++) {
      removeLegacyRules(host, "ip", "nat", (rules) => rules.filter(({ from, edge }) => from === "mine" && !edge).slice(0, 1));
    }`;
  await node.exec(process.execPath, ["-e", script]);
  expect((await adding).stdout).toBe("");
  const rules = (await saved("ip")).filter((line) => line.includes("-A"));
  expect(rules).toHaveLength(40);
  expect(rules.every((line) => line.includes("10.9.0."))).toBe(true);
});
