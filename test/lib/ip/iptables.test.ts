// Each test in a node of its own; iptables-save reads what we wrote, and we what iptables wrote.
import { afterEach, beforeEach, expect, test } from "bun:test";
import { codes } from "../../../lib/cni/errors.ts";
import {
  acceptInIptables,
  checkInIptables,
  forwardDrops,
  hasReferenceGuard,
  removeFromIptables,
} from "../../../lib/ip/iptables.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

let node: Node;
let ns: Namespace;

beforeEach(async () => {
  node = await makeNode("iptables");
  ns = openNamespace(node.path("/proc/1/ns/net"));
});

afterEach(async () => {
  ns.close();
  await node.close();
});

const shell = (script: string) => node.exec("sh", ["-ec", script]);
/** Chains and rules of one program, without counters. */
async function saved(program = "iptables"): Promise<string[]> {
  const { stdout } = await node.exec(`${program}-save`, ["-t", "filter"]);
  return stdout.split("\n").filter((line) => /^(:FORWARD|:CNI|:SITE|-A)/.test(line));
}

test.each([
  ["nothing", "true", []],
  ["a policy that accepts", "iptables -P FORWARD ACCEPT", []],
  ["a policy that drops", "ip6tables -P FORWARD DROP", [6]],
  ["both policies", "iptables -P FORWARD DROP; ip6tables -P FORWARD DROP", [4, 6]],
  ["a rule that drops all", "iptables -A FORWARD -j DROP", [4]],
  ["a rule that rejects all", "iptables -A FORWARD -m comment --comment last -j REJECT", [4]],
  [
    "a reject of nft",
    "iptables -N x; nft add chain ip filter FORWARD '{ type filter hook forward priority 0; }'; nft add rule ip filter FORWARD reject",
    [4],
  ],
  [
    "rules that drop some",
    "iptables -A FORWARD -s 10.0.0.1 -j DROP; iptables -A FORWARD -m conntrack --ctstate INVALID -j REJECT",
    [],
  ],
  ["a chain that only some get to", "iptables -N x; iptables -A x -j DROP; iptables -A FORWARD -i eth9 -j x", []],
])("FORWARD with %s is known for what it is", async (_, script, families) => {
  await shell(script);
  expect([4, 6].filter((family) => forwardDrops(ns, family as 4 | 6))).toEqual(families as any);
});

test("rules are written so that iptables reads and finds them, once however often they are wanted", async () => {
  await shell("iptables -P FORWARD DROP; iptables -A FORWARD -i eth9 -j ACCEPT");
  for (let time = 0; time < 2; time++) acceptInIptables(ns, ["10.1.0.2", "10.1.0.3", "fd00:1::2"], "SITE");
  expect(await saved()).toEqual([
    ":FORWARD DROP [0:0]",
    ":CNI-FORWARD - [0:0]",
    ":SITE - [0:0]",
    '-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD',
    "-A FORWARD -i eth9 -j ACCEPT",
    '-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j SITE',
    "-A CNI-FORWARD -d 10.1.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A CNI-FORWARD -s 10.1.0.2/32 -j ACCEPT",
    "-A CNI-FORWARD -d 10.1.0.3/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A CNI-FORWARD -s 10.1.0.3/32 -j ACCEPT",
  ]);
  const six = await saved("ip6tables");
  expect(six[0]).toBe(":FORWARD ACCEPT [0:0]");
  expect(six).toContain("-A CNI-FORWARD -d fd00:1::2/128 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
  for (const rule of ["-s 10.1.0.2", "-d 10.1.0.2 -m conntrack --ctstate RELATED,ESTABLISHED"])
    await shell(`iptables -C CNI-FORWARD ${rule} -j ACCEPT`);
  checkInIptables(ns, ["10.1.0.2", "10.1.0.3", "fd00:1::2"]);
});

test("a second administrator's chain is looked at first, and both stay", async () => {
  acceptInIptables(ns, ["10.1.0.2"], "CNI-ADMIN");
  acceptInIptables(ns, ["10.1.0.2"], "SITE");
  const rules = (await saved()).filter((line) => line.startsWith("-A CNI-FORWARD"));
  expect(rules.map((line) => line.split(" ").at(-1))).toEqual(["SITE", "CNI-ADMIN", "ACCEPT", "ACCEPT"]);
});

test("rules go by address, whoever wrote them; others stay", async () => {
  removeFromIptables(ns, ["10.1.0.2"]); // there is nothing
  expect((await node.exec("nft", ["list", "ruleset"])).stdout).toBe("");
  await shell(`iptables -N CNI-FORWARD
    iptables -A CNI-FORWARD -s 10.1.0.2 -j ACCEPT
    iptables -A CNI-FORWARD -d 10.1.0.2 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    iptables -A CNI-FORWARD -s 10.1.0.2 -j DROP
    iptables -A CNI-FORWARD -s 10.1.0.2 -p tcp -j ACCEPT
    iptables -A CNI-FORWARD -s 10.1.0.20 -j ACCEPT
    iptables -A CNI-FORWARD -s 10.1.0.0/16 -j ACCEPT`);
  removeFromIptables(ns, ["10.1.0.2", "fd00:1::2"]);
  expect((await saved()).filter((line) => line.startsWith("-A"))).toEqual([
    "-A CNI-FORWARD -s 10.1.0.2/32 -j DROP",
    "-A CNI-FORWARD -s 10.1.0.2/32 -p tcp -j ACCEPT",
    "-A CNI-FORWARD -s 10.1.0.20/32 -j ACCEPT",
    "-A CNI-FORWARD -s 10.1.0.0/16 -j ACCEPT",
  ]);
});

test("check names what is missing", async () => {
  const complaint = () => {
    try {
      checkInIptables(ns, ["10.1.0.2"]);
      return "";
    } catch (error) {
      expect(error).toMatchObject({ code: codes.checkFailed });
      return (error as Error).message;
    }
  };
  expect(complaint()).toContain("FORWARD");
  acceptInIptables(ns, ["10.1.0.2"], "CNI-ADMIN");
  expect(complaint()).toBe("");
  await shell("iptables -D CNI-FORWARD -d 10.1.0.2 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
  expect(complaint()).toContain("10.1.0.2");
});

test("the reference's isolation is recognised", async () => {
  expect(hasReferenceGuard(ns)).toBe(false);
  await shell("iptables -N CNI-ISOLATION-STAGE-1");
  expect(hasReferenceGuard(ns)).toBe(true);
});
