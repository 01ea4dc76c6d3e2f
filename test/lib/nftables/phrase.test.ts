// Truth is nft(8): it reads the words, we read back what it made of them, and that is what the phrases must say.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { parseCidr } from "../../../lib/netlink/inet.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { type Expression, expressions, sameExpressions } from "../../../lib/nftables/expression.ts";
import {
  accept,
  byLink,
  clearMark,
  count,
  daddr,
  dnatTo,
  dport,
  drop,
  established,
  etherSaddr,
  fromNetwork,
  hasMark,
  iifname,
  inSet,
  jump,
  l4proto,
  lacksMark,
  leave,
  masquerade,
  notByLink,
  notFromNetwork,
  notInSet,
  notToNetwork,
  oifname,
  saddr,
  saddrNetwork,
  say,
  setMark,
  toNetwork,
  toThisHost,
} from "../../../lib/nftables/phrase.ts";
import { listRules, type Rule } from "../../../lib/nftables/rule.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

const sets = {
  inet: {
    four: "ipv4_addr",
    six: "ipv6_addr",
    ports: "ifname",
    pair: "ipv4_addr . ipv4_addr",
    pair6: "ipv6_addr . ipv6_addr",
  },
  bridge: { macs: "ether_addr", ports: "ifname", both: "ifname . ether_addr", turned: "ether_addr . ifname" },
};
const maps = {
  inet: {
    any: "inet_proto . inet_service : ipv4_addr . inet_service",
    at: "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
    any6: "inet_proto . inet_service : ipv6_addr . inet_service",
    at6: "ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service",
  },
  bridge: {},
};
const named = (name: string) => ({ name });

const addresses = [
  ["ip", "10.0.0.0/8"],
  ["ip", "10.16.0.0/12"],
  ["ip", "10.1.2.3/32"],
  ["ip6", "fc00::/7"],
  ["ip6", "fd00:1::/64"],
] as const;

const rows: [family: keyof typeof sets, words: string, expressions: Expression[]][] = [
  ["inet", "ip saddr @four", say(inSet(saddr[4], named("four")))],
  ["inet", "ip daddr != @four", say(notInSet(daddr[4], named("four")))],
  ["inet", "ip6 saddr @six", say(inSet(saddr[6], named("six")))],
  ["inet", "ip6 daddr != @six", say(notInSet(daddr[6], named("six")))],
  ["inet", "ip saddr @four ip daddr != @four", say(inSet(saddr[4], named("four")), notInSet(daddr[4], named("four")))],
  ["inet", "iifname @ports accept", say(inSet(iifname, named("ports")), accept)],
  ["inet", "counter", say(count)],
  ["inet", "jump rest", say(jump(named("rest")))],
  ["inet", "masquerade", say(masquerade)],
  ["inet", "ct state established,related accept", say(established, accept)],
  ["inet", "oifname @ports drop", say(inSet(oifname, named("ports")), drop)],
  ["inet", "fib daddr type local", say(toThisHost)],
  ["inet", "meta mark set mark | 0x80001000", say(setMark(0x80001000))],
  ["inet", "meta mark set mark & 0x7fffefff", say(clearMark(0x80001000))],
  ["inet", "meta mark & 0x1000 != 0", say(hasMark(0x1000))],
  ["inet", "meta mark & 0x1000 == 0", say(lacksMark(0x1000))],
  ["inet", 'iifname "eth0"', say(byLink("eth0"))],
  ["inet", 'iifname != "eth0"', say(notByLink("eth0"))],
  ...addresses.flatMap(([ip, network]): typeof rows => [
    ["inet", `${ip} saddr ${network}`, say(fromNetwork(parseCidr(network)!))],
    ["inet", `${ip} saddr != ${network}`, say(notFromNetwork(parseCidr(network)!))],
    ["inet", `${ip} daddr ${network}`, say(toNetwork(parseCidr(network)!))],
    ["inet", `${ip} daddr != ${network}`, say(notToNetwork(parseCidr(network)!))],
  ]),
  ["inet", "ip saddr & 255.240.0.0 . ip daddr @pair", say(inSet([saddrNetwork(4, 12), daddr[4]], named("pair")))],
  ["inet", "ip saddr & 0.0.0.0 . ip daddr @pair", say(inSet([saddrNetwork(4, 0), daddr[4]], named("pair")))],
  ["inet", "ip saddr . ip daddr @pair", say(inSet([saddrNetwork(4, 32), daddr[4]], named("pair")))],
  [
    "inet",
    "ip6 saddr & ffff:ffff:ffff:ffff:: . ip6 daddr @pair6",
    say(inSet([saddrNetwork(6, 64), daddr[6]], named("pair6"))),
  ],
  [
    "inet",
    "meta nfproto ipv4 dnat ip to meta l4proto . th dport map @any",
    say(dnatTo(4, [l4proto, dport], named("any"))),
  ],
  [
    "inet",
    "dnat ip to ip daddr . meta l4proto . th dport map @at",
    say(dnatTo(4, [daddr[4], l4proto, dport], named("at"))),
  ],
  [
    "inet",
    "meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @any6",
    say(dnatTo(6, [l4proto, dport], named("any6"))),
  ],
  [
    "inet",
    "dnat ip6 to ip6 daddr . meta l4proto . th dport map @at6",
    say(dnatTo(6, [daddr[6], l4proto, dport], named("at6"))),
  ],
  ["bridge", "ether saddr @macs return", say(inSet(etherSaddr, named("macs")), leave)],
  ["bridge", "iifname . ether saddr != @both drop", say(notInSet([iifname, etherSaddr], named("both")), drop)],
  ["bridge", "ether saddr . iifname @turned", say(inSet([etherSaddr, iifname], named("turned")))],
];

let node: Node;
let ns: Namespace;
const rules: Record<string, Rule[]> = {};

beforeAll(async () => {
  node = await makeNode("phrase");
  ns = openNamespace(node.path("/proc/1/ns/net"));
  for (const [family, names] of Object.entries(sets)) {
    const lines = Object.entries(names).map(([name, type]) => `set ${name} { type ${type}; }`);
    for (const [name, type] of Object.entries(maps[family as "inet"])) lines.push(`map ${name} { type ${type}; }`);
    const words = rows.filter((row) => row[0] === family).map((row) => row[1]);
    // No hook: each statement is for another one, and where no packet gets the kernel does not mind.
    const chains = `chain rest { }\nchain every {\n${words.join("\n")}\n}`;
    await node.exec("nft", ["-f", "-"], { input: `table ${family} words {\n${lines.join("\n")}\n${chains}\n}\n` });
    const table = { family: family as "inet", name: "words" };
    rules[family] = listRules(ns.netfilter, { table, name: "every" });
  }
});

afterAll(async () => {
  ns.close();
  await node.close();
});

test.each(rows)("in table %s, nft understands %p as we say it", (family, words, ours) => {
  const at = rows.filter((row) => row[0] === family).findIndex((row) => row[1] === words);
  const theirs = rules[family]![at]!.expressions;
  expect(theirs).toMatchObject(ours);
  expect(sameExpressions(ours, theirs)).toBe(true);
});

test("every expression is in a rule above", () => {
  const used = new Set(rows.flatMap(([, , some]) => some.map(({ name }) => name)));
  expect([...used].sort()).toEqual(Object.keys(expressions).sort());
});

test("fields of both IP versions are each looked at only in packets that have them", () => {
  const names = say(inSet(saddr[4], named("a")), inSet(saddr[6], named("b"))).map(({ name }) => name);
  expect(names).toEqual(["meta", "cmp", "payload", "lookup", "meta", "cmp", "payload", "lookup"]);
});
