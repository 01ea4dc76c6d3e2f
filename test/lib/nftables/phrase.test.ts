// Truth is nft(8): it reads the words, we read back what it made of them, and that is what the phrases must say.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { type Expression, expressions, sameExpressions } from "../../../lib/nftables/expression.ts";
import {
  accept,
  count,
  daddr,
  drop,
  etherSaddr,
  iifname,
  inSet,
  jump,
  leave,
  masquerade,
  notInSet,
  saddr,
  say,
} from "../../../lib/nftables/phrase.ts";
import { listRules, type Rule } from "../../../lib/nftables/rule.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

const sets = {
  inet: { four: "ipv4_addr", six: "ipv6_addr", ports: "ifname" },
  bridge: { macs: "ether_addr", ports: "ifname", both: "ifname . ether_addr", turned: "ether_addr . ifname" },
};
const named = (name: string) => ({ name });

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
    const words = rows.filter((row) => row[0] === family).map((row) => row[1]);
    const hook = family === "inet" ? "type nat hook postrouting priority 100;" : "";
    const chains = `chain rest { }\nchain every { ${hook}\n${words.join("\n")}\n}`;
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
