// nft writes the rules as the reference's bridge leaves them; we look at them and take them away.
import { expect, test } from "bun:test";
import { hasReferenceSpoofCheck, removeReferenceSpoofCheck } from "../../../lib/ip/reference-spoof-check.ts";
import { onNode } from "../../helpers/namespace.ts";
import type { Node } from "../../helpers/node.ts";

const guard = (containerId: string, ifname: string, link: string) => {
  const [name, comment] = [`cni-br-iface-${containerId}-${ifname}`, `comment "macspoofchk-${containerId}-${ifname}"`];
  return `table bridge nat {
    chain ${name}-mac {\n ether saddr 02:00:00:00:00:01 return ${comment}\n drop ${comment}\n }
    chain ${name} {\n jump ${name}-mac ${comment}\n }
    chain PREROUTING { type filter hook prerouting priority -300; policy accept;
      iifname "${link}" jump ${name} ${comment}\n }\n}\n`;
};
const write = (node: Node, input: string) => node.exec("nft", ["-f", "-"], { input });
const ruleset = async (node: Node) => (await node.exec("nft", ["list", "ruleset"])).stdout;
const one = { containerId: "c1", ifname: "eth0" };

test("a guard is found by container, interface and link, and goes without touching the others", async () => {
  await onNode(async ({ node, ns }) => {
    await write(node, guard("c1", "eth1", "veth2") + guard("c2", "eth0", "veth3"));
    const before = await ruleset(node);
    await write(node, guard("c1", "eth0", "veth1"));
    expect(hasReferenceSpoofCheck(ns, one, "veth1")).toBe(true);
    expect(hasReferenceSpoofCheck(ns, one, "veth2")).toBe(false);
    expect(hasReferenceSpoofCheck(ns, { ...one, ifname: "eth1" }, "veth1")).toBe(false);
    removeReferenceSpoofCheck(ns, one);
    expect(await ruleset(node)).toBe(before);
    expect(hasReferenceSpoofCheck(ns, one, "veth1")).toBe(false);
    removeReferenceSpoofCheck(ns, one);
    expect(await ruleset(node)).toBe(before);
  });
});

test("half a guard, as a killed ADD leaves it, goes too; where there is none, nothing is made", async () => {
  await onNode(async ({ node, ns }) => {
    removeReferenceSpoofCheck(ns, one);
    expect(await ruleset(node)).toBe("");
    await write(node, "table bridge nat {\n chain cni-br-iface-c1-eth0 {\n }\n}\n");
    removeReferenceSpoofCheck(ns, one);
    expect(await ruleset(node)).not.toContain("chain");
  });
});
