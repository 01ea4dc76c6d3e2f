// Truth is what iptables and nft make of their words: they write rules, and we say what these tell.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { factsOf } from "../../../lib/nftables/facts.ts";
import { listRules } from "../../../lib/nftables/rule.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

let node: Node;
let ns: Namespace;

beforeAll(async () => {
  node = await makeNode("facts");
  ns = openNamespace(node.path("/proc/1/ns/net"));
  for (const program of ["iptables-nft", "ip6tables-nft"])
    for (const chain of ["there", "words"]) await node.exec(program, ["-t", "nat", "-N", chain]);
  await node.exec("nft", ["-f", "-"], {
    input: "table inet mine { chain there { }\n chain words { type nat hook postrouting priority 0; }\n }\n",
  });
});

afterAll(async () => {
  ns.close();
  await node.close();
});

async function written(family: "ip" | "ip6", rule: string) {
  const program = family === "ip" ? "iptables-nft" : "ip6tables-nft";
  await node.exec("sh", ["-c", `${program} -t nat -F words; ${program} -t nat -A words ${rule}`]);
  return listRules(ns.netfilter, { table: { family, name: "nat" }, name: "words" }).map(factsOf);
}

test.each([
  [
    "ip",
    "-s 10.1.0.2/32 -m comment --comment 'some words' -j there",
    { source: "10.1.0.2", comment: "some words", chain: "there" },
  ],
  ["ip", "-s 10.1.0.0/16 -d 10.1.0.3 -j ACCEPT", { destination: "10.1.0.3" }],
  ["ip", "-s 10.1.0.0/20 ! -d 10.1.0.3 -j MASQUERADE", { masquerades: true }],
  ["ip", "-i eth0 -g there", { link: "eth0", chain: "there" }],
  [
    "ip",
    "-d 192.0.2.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.2:80",
    { destination: "192.0.2.1", protocol: 6, ports: [8080], to: { ip: "10.1.0.2", port: 80 } },
  ],
  [
    "ip",
    "-p sctp -m sctp --dport 36412 -j DNAT --to-destination 10.1.0.2:300",
    { protocol: 132, ports: [36412], to: { ip: "10.1.0.2", port: 300 } },
  ],
  ["ip", "-p udp -m multiport --dports 53,8053 -j there", { protocol: 17, ports: [53, 8053], chain: "there" }],
  ["ip", "-p udp -m multiport --sports 53,8053 -j there", { protocol: 17, chain: "there" }],
  ["ip", "-p udp -m multiport ! --dports 53,8053 -j there", { protocol: 17, chain: "there" }],
  ["ip6", "-s fd00::2 -j there", { source: "fd00::2", chain: "there" }],
  [
    "ip6",
    "-p tcp -m tcp --dport 8080 -j DNAT --to-destination [fd00::2]:80",
    { protocol: 6, ports: [8080], to: { ip: "fd00::2", port: 80 } },
  ],
] as const)("%s rule %s", async (family, rule, facts) => {
  expect(await written(family, rule)).toEqual([facts as any]);
});

test.each([
  [
    'ip saddr 10.1.0.2 ip daddr != 10.1.0.0/16 masquerade comment "whose"',
    { source: "10.1.0.2", masquerades: true, comment: "whose" },
  ],
  ["tcp dport 80 goto there", { protocol: 6, ports: [80], chain: "there" }],
  ["meta mark set 7 ct mark set 8 counter", {}],
  ["ip6 saddr fd00::1 ip6 daddr fd00::2 masquerade", { source: "fd00::1", destination: "fd00::2", masquerades: true }],
] as const)("nft rule %s", async (rule, facts) => {
  await node.exec("nft", ["-f", "-"], { input: `flush chain inet mine words\nadd rule inet mine words ${rule}\n` });
  const chain = { table: { family: "inet", name: "mine" } as const, name: "words" };
  expect(listRules(ns.netfilter, chain).map(factsOf)).toEqual([facts as any]);
});

test("connections led by words of nft", async () => {
  const led = (family: string, rule: string) => `table ${family} led {\n chain c {\n ${rule}\n }\n}\n`;
  const input =
    led("ip", 'tcp dport 8080 dnat to 10.1.0.2:80 comment "c1"') + led("ip6", "udp dport 53 dnat to [fd00::2]:54");
  await node.exec("nft", ["-f", "-"], { input });
  const facts = (["ip", "ip6"] as const).flatMap((family) =>
    listRules(ns.netfilter, { table: { family, name: "led" } }).map(factsOf),
  );
  expect(facts).toEqual([
    { protocol: 6, ports: [8080], to: { ip: "10.1.0.2", port: 80 }, comment: "c1" },
    { protocol: 17, ports: [53], to: { ip: "fd00::2", port: 54 } },
  ]);
});
