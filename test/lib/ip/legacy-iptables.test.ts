// Each test in a node of its own: iptables-legacy writes, we read the kernel, and the other way round.
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  acceptInLegacy,
  checkInLegacy,
  hasInLegacy,
  hasLegacyFilter,
  hasLegacyGuard,
  legacyDrops,
  removeFromLegacy,
} from "../../../lib/ip/legacy-iptables.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, type Node, needPrograms } from "../../helpers/node.ts";

let node: Node;
let ns: Namespace;

beforeEach(async () => {
  await needPrograms("iptables-legacy", "ip6tables-legacy");
  node = await makeNode("legacy");
  ns = openNamespace(node.path("/proc/1/ns/net"));
});

afterEach(async () => {
  ns.close();
  await node.close();
});

const shell = (script: string) => node.exec("sh", ["-ec", script.replaceAll("tables -", "tables-legacy -")]);
const rules = async () =>
  (await node.exec("iptables-legacy-save", [])).stdout.split("\n").filter((line) => line.startsWith("-A"));

test("looking makes no filter where there is none", async () => {
  for (const family of [4, 6] as const)
    expect([hasLegacyFilter(ns, family), legacyDrops(ns, family)]).toEqual([false, false]);
  await shell("iptables -t nat -N x");
  expect(hasLegacyFilter(ns, 4)).toBe(false);
  expect((await node.exec("cat", ["/proc/net/ip_tables_names"])).stdout).toBe("nat");
});

test.each([
  ["a policy that accepts", "iptables -P FORWARD ACCEPT", []],
  ["a policy that drops", "iptables -P FORWARD DROP", [4]],
  ["both policies", "iptables -P FORWARD DROP; ip6tables -P FORWARD DROP", [4, 6]],
  ["a policy that drops, after rules", "ip6tables -A FORWARD -s fd00::1 -j DROP; ip6tables -P FORWARD DROP", [6]],
  ["a rule that drops all", "ip6tables -A FORWARD -j DROP; ip6tables -A FORWARD -i lo", [6]],
  ["a rule that rejects all", "iptables -A FORWARD -i eth9 -j ACCEPT; iptables -A FORWARD -j REJECT", [4]],
  ["rules that drop some", "iptables -A FORWARD -s 10.0.0.1 -j DROP; iptables -A FORWARD -i eth9 -j REJECT", []],
  [
    "a rule with a module",
    "iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP; ip6tables -A FORWARD -m conntrack --ctstate INVALID -j DROP",
    [],
  ],
  ["drops elsewhere", "iptables -P INPUT DROP; iptables -A OUTPUT -j DROP; iptables -N x; iptables -A x -j DROP", []],
])("FORWARD with %s is known for what it is", async (_, script, families) => {
  await shell(script);
  expect(([4, 6] as const).filter((family) => legacyDrops(ns, family))).toEqual(families as any);
});

test("rules are added once and checked by the program of iptables, and removed without it", async () => {
  // The program runs in the network namespace that this process is in, so the whole is done in the node.
  const script = `
    import { acceptInLegacy, checkInLegacy, removeFromLegacy } from "${process.cwd()}/lib/ip/legacy-iptables.ts";
    import { host } from "${process.cwd()}/lib/netns/netns.ts";
    const pods = ["10.1.0.2", "10.1.0.3", "fd00:1::2"];
    for (const verb of process.argv.slice(2)) {
      if (verb === "accept") acceptInLegacy(pods, "SITE", [4]);
      if (verb === "check") checkInLegacy(pods, [4]);
      if (verb === "remove") removeFromLegacy(host, pods.slice(1));
    }`;
  await Bun.write(`${node.dir}/script.ts`, script);
  const run = (...verbs: string[]) =>
    node.exec(process.execPath, [`${node.dir}/script.ts`, ...verbs], {
      reject: false,
      env: { NODE_PATH: process.cwd() },
    });
  await shell("iptables -P FORWARD DROP; iptables -A FORWARD -i eth9 -j ACCEPT");
  expect(await run("accept", "accept", "check")).toMatchObject({ exitCode: 0 });
  expect(await rules()).toEqual([
    '-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD',
    "-A FORWARD -i eth9 -j ACCEPT",
    '-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j SITE',
    "-A CNI-FORWARD -d 10.1.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A CNI-FORWARD -s 10.1.0.2/32 -j ACCEPT",
    "-A CNI-FORWARD -d 10.1.0.3/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A CNI-FORWARD -s 10.1.0.3/32 -j ACCEPT",
  ]);
  expect(await run("remove", "remove")).toMatchObject({ exitCode: 0 });
  expect(await rules()).toHaveLength(5);
  expect((await run("check")).stderr).toContain(`10.1.0.3/32`);
});

test("rules that the reference wrote are found by their addresses, and its way of keeping bridges apart by its chain", async () => {
  await shell(`iptables -N CNI-FORWARD
    iptables -A CNI-FORWARD -d 10.1.0.2 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    iptables -A CNI-FORWARD -s 10.1.0.2 -j ACCEPT
    iptables -A CNI-FORWARD -s 10.1.0.3 -j ACCEPT
    iptables -A CNI-FORWARD -s 10.1.0.3 -d 10.1.0.2 -j ACCEPT
    iptables -A CNI-FORWARD -s 10.1.0.2 -p tcp -j ACCEPT`);
  expect(hasInLegacy(ns, ["10.1.0.2"])).toBe(true);
  expect(hasInLegacy(ns, ["10.1.0.3"])).toBe(false);
  expect(hasInLegacy(ns, ["10.1.0.2", "fd00:1::2"])).toBe(false);
  expect(hasLegacyGuard(ns)).toBe(false);
  await shell("iptables -N CNI-ISOLATION-STAGE-1");
  expect(hasLegacyGuard(ns)).toBe(true);
});

test("without the plugin's chain there is nothing to remove, and no program is run; families not asked for are left alone", async () => {
  await shell("iptables -P FORWARD DROP");
  removeFromLegacy(ns, ["10.1.0.2"]);
  acceptInLegacy(["fd00:1::2"], "CNI-ADMIN", [4]);
  checkInLegacy(["fd00:1::2"], [4]);
  expect(await rules()).toEqual([]);
});
