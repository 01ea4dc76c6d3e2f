// Truth is iptables: it writes its rules, we read back what it made of them, and that is what we must say.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import type { Expression } from "../../../lib/nftables/expression.ts";
import { listRules } from "../../../lib/nftables/rule.ts";
import { matchComment, matchEstablished, moduleOf } from "../../../lib/nftables/xtables.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

const chain = { table: { family: "ip", name: "filter" }, name: "words" } as const;
let node: Node;
let ns: Namespace;
const rules: Expression[][] = [];

beforeAll(async () => {
  node = await makeNode("xtables");
  ns = openNamespace(node.path("/proc/1/ns/net"));
  await node.exec("iptables-nft", ["-N", "words"]);
  await node.exec("iptables-nft", ["-A", "words", "-m", "comment", "--comment", "some words"]);
  await node.exec("iptables-nft", ["-A", "words", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"]);
  await node.exec("iptables-nft", ["-A", "words", "-j", "REJECT"]);
  rules.push(...listRules(ns.netfilter, chain).map(({ expressions }) => expressions));
});

afterAll(async () => {
  ns.close();
  await node.close();
});

test("comments and states of connections are matched as iptables does it", () => {
  expect(rules[0]![0]).toEqual(matchComment("some words"));
  expect(rules[1]![0]).toEqual(matchEstablished());
});

test("modules of iptables are known by name", () => {
  expect(rules.map((rule) => rule.map(moduleOf))).toEqual([
    ["comment", undefined],
    ["conntrack", undefined],
    [undefined, "REJECT"],
  ]);
  expect(moduleOf({ name: "quota", unknown: new Uint8Array(8) })).toBeUndefined();
});
