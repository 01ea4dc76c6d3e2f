import { expect, test } from "bun:test";
import {
  type Cluster,
  changeNodes,
  compareCluster,
  compareExemption,
  ensureCluster,
  removeCluster,
} from "../../../lib/ip/cluster.ts";
import { ensureMasquerade } from "../../../lib/ip/masquerade.ts";
import { postrouting } from "../../../lib/nftables/layout.ts";
import { listRules } from "../../../lib/nftables/rule.ts";
import { onNode } from "../../helpers/namespace.ts";

const cluster = (more: Partial<Cluster> = {}): Cluster => ({
  network: "pods",
  pods: ["10.1.0.0/16", "fd00::/48"],
  nodes: ["192.0.2.1", "192.0.2.2", "2001:db8::2"],
  ...more,
});
const own = ["cluster/pods/pods4", "cluster/pods/nodes4", "cluster/pods/pods6", "cluster/pods/nodes6"];
const masquerade = (last: number) => ({
  network: "net",
  label: `net/c${last}/eth0`,
  addresses: [`10.${last}.0.2/24`],
  exempt: [],
});

test("the exemption stands before what masquerades, whichever was first, and is made once", async () => {
  await onNode(async ({ node, ns }) => {
    const comments = () => listRules(ns.netfilter, postrouting).map(({ comment }) => comment);
    ensureMasquerade(ns, masquerade(1));
    ensureCluster(ns, cluster());
    ensureMasquerade(ns, masquerade(2));
    expect(comments()).toEqual([...own, "net/10.1.0.0/24", "net/10.2.0.0/24"]);
    expect(compareCluster(ns, cluster())).toEqual([]);
    const before = (await node.exec("nft", ["-a", "list", "ruleset"])).stdout;
    ensureCluster(ns, cluster());
    expect((await node.exec("nft", ["-a", "list", "ruleset"])).stdout).toBe(before);
    expect(before).toContain("ip saddr @cluster/pods/pods4/");
    // What nft(8) lists it can load again.
    await node.exec("nft", ["-f", "-"], { input: `flush ruleset\n${before.replaceAll(/ # handle \d+/g, "")}` });
    expect(compareCluster(ns, cluster())).toEqual([]);
  });
});

test("other pods and nodes are brought in, and what is no longer there goes", async () => {
  await onNode(async ({ ns, node }) => {
    ensureCluster(ns, cluster());
    const wider = cluster({ pods: ["10.1.0.0/16", "10.2.0.0/16"], nodes: ["192.0.2.3"] });
    expect(compareCluster(ns, wider).length).toBeGreaterThan(2);
    ensureCluster(ns, wider);
    expect(compareCluster(ns, wider)).toEqual([]);
    const { stdout } = await node.exec("nft", ["list", "ruleset"]);
    expect(stdout).toContain("10.1.0.0-10.2.255.255");
    expect(stdout).not.toContain("ip6");
    removeCluster(ns, "pods");
    expect((await node.exec("nft", ["list", "ruleset"])).stdout).not.toContain("cluster");
  });
});

test("nodes pass one by one; where something is missing that is said, and nothing is changed", async () => {
  await onNode(async ({ ns, node }) => {
    ensureCluster(ns, cluster());
    expect(changeNodes(ns, "pods", ["192.0.2.2", "2001:db8::2"], ["192.0.2.9", "2001:db8::2"], [4, 6])).toBe(true);
    expect(compareCluster(ns, cluster({ nodes: ["192.0.2.1", "192.0.2.9", "2001:db8::2"] }))).toEqual([]);
    expect(changeNodes(ns, "pods", ["192.0.2.77"], ["192.0.2.78"], [4, 6])).toBe(false);
    expect(compareCluster(ns, cluster({ nodes: ["192.0.2.1", "192.0.2.9", "2001:db8::2"] }))).toEqual([]);
    await node.exec("nft", ["flush", "ruleset"]);
    expect(changeNodes(ns, "pods", [], ["192.0.2.9"], [4])).toBe(false);
    const found = compareCluster(ns, cluster());
    expect(found).toContain("nodes that are not exempt from masquerade: 192.0.2.1, 192.0.2.2");
    expect(found).toContain('the rules that exempt network "pods" from masquerade are missing, or behind a masquerade');
  });
});

test("the exemption matters where something masquerades", async () => {
  await onNode(async ({ ns, node }) => {
    expect(compareExemption(ns, cluster())).toEqual([]);
    ensureMasquerade(ns, masquerade(1));
    expect(compareExemption(ns, cluster()).length).toBe(1);
    ensureCluster(ns, cluster());
    expect(compareExemption(ns, cluster())).toEqual([]);
    await node.exec("nft", ["insert rule inet tenon postrouting masquerade"]);
    expect(compareExemption(ns, cluster()).length).toBe(1);
    ensureCluster(ns, cluster());
    expect(compareExemption(ns, cluster())).toEqual([]);
  });
});

test("thousands of nodes and of scattered networks fit", async () => {
  await onNode(async ({ ns }) => {
    const many = cluster({
      pods: Array.from({ length: 3000 }, (_, at) => `10.${at >> 7}.${2 * (at & 127)}.0/24`),
      nodes: Array.from({ length: 5000 }, (_, at) => `172.16.${at >> 8}.${at & 255}`),
    });
    ensureCluster(ns, many);
    expect(compareCluster(ns, many)).toEqual([]);
    ensureCluster(ns, cluster());
    expect(compareCluster(ns, cluster())).toEqual([]);
  });
});

test("a long name of a network is hashed", async () => {
  await onNode(async ({ ns }) => {
    const long = cluster({ network: "n".repeat(200) });
    ensureCluster(ns, long);
    expect(compareCluster(ns, long)).toEqual([]);
    ensureCluster(ns, cluster());
    removeCluster(ns, long.network);
    expect(compareCluster(ns, cluster())).toEqual([]);
  });
});
