// Truth is iptables: it writes its rules, we read back what it made of them, and that is what we must say.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import type { Expression } from "../../../lib/nftables/expression.ts";
import { listRules } from "../../../lib/nftables/rule.ts";
import {
  commentOf,
  destinationOf,
  matchComment,
  matchEstablished,
  moduleOf,
  portsOf,
} from "../../../lib/nftables/xtables.ts";
import { hex } from "../../helpers/bytes.ts";
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

test("comments are read as they were said, and nothing else is one", () => {
  expect(commentOf(matchComment("some words"))).toBe("some words");
  expect(commentOf(matchEstablished())).toBeUndefined();
});

const module = (name: "match" | "target", module: string, revision: string, info: string): Expression => ({
  name,
  unknown: hex(`${module} 08 00 02 00 00 00 00 ${revision} ${info}`),
});

test.each([
  ["tcp", '08 00 01 00 "tcp" 00', "10 00 03 00 00 00 ff ff 90 1f 90 1f 00 00 00 00", [8080]],
  ["tcp with a range", '08 00 01 00 "tcp" 00', "10 00 03 00 00 00 ff ff 90 1f 91 1f 00 00 00 00", undefined],
  ["udp", '08 00 01 00 "udp" 00', "10 00 03 00 00 00 ff ff 35 00 35 00 00 00 00 00", [53]],
  ["sctp", '09 00 01 00 "sctp" 00 00 00 00', "0c 00 03 00 3c 8e 3c 8e 00 00 ff ff", [36412]],
  ["udp cut short", '08 00 01 00 "udp" 00', "0a 00 03 00 00 00 ff ff 35 00 00 00", undefined],
] as const)("ports of -m %s, as older iptables have them", (_, name, info, ports) => {
  expect(portsOf(module("match", name, "00", info))).toEqual(ports as any);
});

test("where DNAT leads, in each of its revisions", () => {
  const name = '09 00 01 00 "DNAT" 00 00 00 00';
  const zero = (count: number) => new Array(count).fill("00").join(" ");
  const zeroth = `18 00 03 00 14 00 00 00 03 00 00 00 0a 01 00 02 0a 01 00 02 00 50 00 50`;
  const first = `2c 00 03 00 03 00 00 00 fd 00 ${zero(13)} 02 fd 00 ${zero(13)} 02 00 50 00 50`;
  const second = `30 00 03 00 03 00 00 00 0a 01 00 02 ${zero(12)} 0a 01 00 02 ${zero(12)} 00 50 00 50 00 00 00 00`;
  expect(destinationOf(module("target", name, "00", zeroth), 4)).toEqual({ ip: "10.1.0.2", port: 80 });
  expect(destinationOf(module("target", name, "01", first), 16)).toEqual({ ip: "fd00::2", port: 80 });
  expect(destinationOf(module("target", name, "02", second), 4)).toEqual({ ip: "10.1.0.2", port: 80 });
  expect(destinationOf(matchEstablished(), 4)).toBeUndefined();
});
