// What is where in nftables, and the priorities that everything of ours keeps to: a table named "tenon" for each family.
// A chain is made when the first feature needs it, always as described here, so that a later one moves none.
//
//   family  chain        type    hook         priority            what for
//   bridge  prerouting   filter  prerouting   -300 (dstnat)       frames with a forged source address: spoof-check
//   bridge  forward      filter  forward      -200 (filter)       reserved: policies between ports of one bridge
//   inet    prerouting   nat     prerouting   -100 (dstnat)       published ports: port-mapping
//   inet    output       nat     output       -100 (dstnat)       published ports, from the host itself
//   inet    policies     filter  forward       -10                reserved: policies, security groups
//   inet    forward      filter  forward         0 (filter)       bridges apart, pods let through: forward-filter
//   inet    postrouting  nat     postrouting   100 (srcnat)       masquerade; sources of published ports
//
// One bit of packet marks is ours, from a published port's new destination to its new source: see `publishedMark`.
// Base chains accept what no rule speaks of: what is not ours is decided by others' tables. A packet passes every base chain
// of its hook: a drop in one is the end of it, an accept only of that chain. So policies have a chain of their own, where
// neither they nor the rules of `forward` can overrule the other; and nothing here lets through what another table drops.
import type { Chain } from "./chain.ts";
import type { Table } from "./table.ts";

export const inet: Table = { family: "inet", name: "tenon" };
export const bridge: Table = { family: "bridge", name: "tenon" };

/**
 * In the first packet of a connection to a published port, between prerouting or output and postrouting. Others' bits on
 * nodes: 0x2000 reference portmap, 0x4000 and 0x8000 kube-proxy, 0x0f00 Cilium, 0xffff0000 Calico, 0x80 Amazon.
 */
export const publishedMark = 0x1000;

export const prerouting: Chain = {
  table: inet,
  name: "prerouting",
  base: { type: "nat", hook: "prerouting", priority: -100, policy: "accept" },
};

export const output: Chain = {
  table: inet,
  name: "output",
  base: { type: "nat", hook: "output", priority: -100, policy: "accept" },
};

export const forward: Chain = {
  table: inet,
  name: "forward",
  base: { type: "filter", hook: "forward", priority: 0, policy: "accept" },
};

export const postrouting: Chain = {
  table: inet,
  name: "postrouting",
  base: { type: "nat", hook: "postrouting", priority: 100, policy: "accept" },
};

export const bridgePrerouting: Chain = {
  table: bridge,
  name: "prerouting",
  base: { type: "filter", hook: "prerouting", priority: -300, policy: "accept" },
};
