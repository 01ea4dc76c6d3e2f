import { afterAll, beforeAll, expect, test } from "bun:test";
import { droppingChains, hasFirewalld } from "../../../lib/ip/foreign-filter.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

let node: Node;
let ns: Namespace;
beforeAll(async () => {
  node = await makeNode("foreign");
  ns = openNamespace(node.path("/proc/1/ns/net"));
});
afterAll(async () => {
  ns.close();
  await node.close();
});

test("chains of others that drop what is forwarded are named, with their family and table", async () => {
  expect(droppingChains(ns)).toEqual([]);
  const chain = (name: string, hook: string, policy: string) =>
    `chain ${name} {\ntype filter hook ${hook} priority 0; policy ${policy};\n}\n`;
  const input = [
    `table inet site {\n${chain("way", "forward", "drop")}${chain("in", "input", "drop")}}\n`,
    `table ip6 site {\n${chain("six", "forward", "drop")}${chain("open", "forward", "accept")}}\n`,
    `table inet tenon {\n${chain("policies", "forward", "drop")}}\n`,
  ].join("");
  await node.exec("nft", ["-f", "-"], { input });
  await node.exec("iptables", ["-P", "FORWARD", "DROP"]); // there pods are let through
  expect(droppingChains(ns)).toEqual(["chain inet site way", "chain ip6 site six"]);
});

test("firewalld is known by its table", async () => {
  expect(hasFirewalld(ns)).toBe(false);
  await node.exec("nft", ["add", "table", "inet", "firewalld"]);
  expect(hasFirewalld(ns)).toBe(true);
});
