// Each test in a node of its own, read back with nft.
import { afterEach, beforeEach, expect, test } from "bun:test";
import { type CniError, codes } from "../../../lib/cni/errors.ts";
import { labelOf } from "../../../lib/cni/identity.ts";
import { ensureGuard, sweepGuards } from "../../../lib/ip/bridge-guard.ts";
import {
  type Accepted,
  acceptedOf,
  checkAccepted,
  clearFilter,
  ensureAccepted,
  removeAccepted,
  staleOf,
  sweepAccepted,
} from "../../../lib/ip/forward-filter.ts";
import { ensureMasquerade, removeMasquerade } from "../../../lib/ip/masquerade.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

let node: Node;
let ns: Namespace;

beforeEach(async () => {
  node = await makeNode("forward");
  ns = openNamespace(node.path("/proc/1/ns/net"));
});

afterEach(async () => {
  ns.close();
  await node.close();
});

const pod = (last: number, network = "podnet"): Accepted => ({
  label: labelOf(network, `container${last}`, "eth0"),
  addresses: [`10.1.0.${last}/16`, `fd00:1::${last}`],
});

/** What nft lists of the table, without handles. */
async function listed(): Promise<string> {
  return (await node.exec("nft", ["list", "ruleset"])).stdout;
}

test("ensure makes one chain with its rules in order, and an element for each address", async () => {
  for (const last of [1, 2, 2]) ensureAccepted(ns, pod(last));
  const text = (await listed()).replace(/\s+/g, " ");
  expect(text).toContain('10.1.0.1 comment "podnet/container1/eth0"');
  expect(text).toContain('fd00:1::2 comment "podnet/container2/eth0"');
  expect(text).toContain(
    [
      "chain forward { type filter hook forward priority filter; policy accept;",
      'iifname @firewall/bridges oifname @firewall/bridges iifname . oifname != @firewall/loops counter packets 0 bytes 0 drop comment "firewall bridges"',
      'ip daddr @firewall/pods4 ct state established,related accept comment "firewall to pods4"',
      'ip saddr @firewall/pods4 accept comment "firewall from pods4"',
      'ip6 daddr @firewall/pods6 ct state established,related accept comment "firewall to pods6"',
      'ip6 saddr @firewall/pods6 accept comment "firewall from pods6" }',
    ].join(" "),
  );
});

test("a rule that somebody took away comes back in its place, with the next set of a new host", async () => {
  ensureAccepted(ns, pod(1));
  const { stdout } = await node.exec("nft", ["-a", "list", "chain", "inet", "tenon", "forward"]);
  const handle = /firewall bridges" # handle (\d+)/.exec(stdout)![1]!;
  await node.exec("nft", ["delete", "rule", "inet", "tenon", "forward", "handle", handle]);
  expect(() => checkAccepted(ns, pod(1))).toThrow("in their order");
  ensureGuard(ns, { network: "podnet", bridge: "cni0", policy: "isolated" });
  expect(checkAccepted(ns, pod(1))).toBe("all");
  expect((await listed()).match(/comment "firewall /g)).toHaveLength(5);
});

test("an attachment's addresses are found by label or by hint, and removed with nobody else's", async () => {
  for (const last of [1, 2]) ensureAccepted(ns, pod(last));
  const { label } = pod(1);
  const own = ["10.1.0.1", "fd00:1::1"];
  expect(acceptedOf(ns, label).sort()).toEqual(own);
  expect(acceptedOf(ns, label, pod(1).addresses).sort()).toEqual(own);
  // Nobody's counts as its own, another's does not.
  expect(acceptedOf(ns, label, ["10.1.0.2/16", "10.1.0.9/16"])).toEqual(["10.1.0.9"]);
  removeAccepted(ns, { label, addresses: ["10.1.0.2", "10.1.0.9", ...own] });
  expect(acceptedOf(ns, label)).toEqual([]);
  expect(acceptedOf(ns, pod(2).label)).toHaveLength(2);
});

test("an address that another attachment left is taken over", () => {
  ensureAccepted(ns, { ...pod(1), label: "podnet/gone/eth0" });
  ensureAccepted(ns, pod(1));
  expect(acceptedOf(ns, "podnet/gone/eth0")).toEqual([]);
  removeAccepted(ns, { ...pod(1), label: "podnet/gone/eth0" });
  expect(checkAccepted(ns, pod(1))).toBe("all");
});

test("check tells what is whole from what was never made, and names what is missing", async () => {
  expect(checkAccepted(ns, pod(1))).toBe("none");
  ensureAccepted(ns, pod(1));
  expect(checkAccepted(ns, pod(1))).toBe("all");
  await node.exec("nft", ["flush", "set", "inet", "tenon", "firewall/pods6"]);
  try {
    checkAccepted(ns, pod(1));
    throw new Error("not refused");
  } catch (error) {
    expect(error as CniError).toMatchObject({ code: codes.checkFailed });
    expect((error as Error).message).toContain("fd00:1::1");
  }
});

test("where nothing was ever let through, nothing is made", async () => {
  expect(acceptedOf(ns, pod(1).label)).toEqual([]);
  removeAccepted(ns, pod(1));
  sweepAccepted(ns, "podnet", new Set());
  clearFilter(ns);
  expect(await listed()).toBe("");
});

test("GC takes what is not kept of its network, and at last the table", async () => {
  for (const last of [1, 2]) ensureAccepted(ns, pod(last));
  ensureAccepted(ns, pod(3, "other"));
  const keep = new Set([pod(2).label]);
  expect(staleOf(ns, "podnet", keep)).toEqual({ addresses: ["10.1.0.1", "fd00:1::1"], living: true });
  sweepAccepted(ns, "podnet", keep);
  expect(acceptedOf(ns, pod(1).label)).toEqual([]);
  expect(acceptedOf(ns, pod(2).label)).toHaveLength(2);
  sweepAccepted(ns, "podnet", new Set());
  clearFilter(ns);
  expect(acceptedOf(ns, pod(3, "other").label)).toHaveLength(2);
  sweepAccepted(ns, "other", new Set());
  ensureGuard(ns, { network: "podnet", bridge: "cni0", policy: "isolated" });
  clearFilter(ns);
  expect(await listed()).toContain("firewall/bridges");
  sweepGuards(ns, "podnet");
  clearFilter(ns);
  expect(await listed()).toBe("");
});

test("what others have in the table stays, as do rules of others in the chain", async () => {
  const masquerade = { network: "podnet", label: "podnet/c/eth0", addresses: ["10.1.0.2/16"], exempt: [] };
  ensureMasquerade(ns, masquerade);
  ensureAccepted(ns, pod(1));
  removeAccepted(ns, pod(1));
  await node.exec("nft", ["insert", "rule", "inet", "tenon", "forward", "counter"]);
  clearFilter(ns);
  expect(await listed()).toContain("firewall/pods4");
  await node.exec("nft", ["flush", "chain", "inet", "tenon", "forward"]);
  clearFilter(ns);
  expect(await listed()).toContain("masq");
  expect(await listed()).not.toContain("forward");
  removeMasquerade(ns, masquerade);
});

test.each(["", "10.1.0", "10.1.0.1/33"])("%p is refused before anything is sent", async (address) => {
  expect(() => ensureAccepted(ns, { label: "podnet/a/eth0", addresses: [address] })).toThrow(TypeError);
  expect(await listed()).toBe("");
});
