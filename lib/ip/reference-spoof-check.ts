// Source addresses that the Go plugin bridge guarded (macspoofchk) before ours took its place, in table bridge nat:
//
//   PREROUTING                     iifname "veth1a2b3c4d" jump cni-br-iface-c1-eth0
//   cni-br-iface-c1-eth0           jump cni-br-iface-c1-eth0-mac
//   cni-br-iface-c1-eth0-mac       ether saddr 02:00:00:00:00:01 return;  drop
//
// Neither names nor comments say which network it is: GC leaves them.
import type { Attachment } from "../cni/request.ts";
import type { Namespace } from "../netns/netns.ts";
import { deleteChain, getChain } from "../nftables/chain.ts";
import { factsOf } from "../nftables/facts.ts";
import { deleteRule, listRules } from "../nftables/rule.ts";
import type { Table } from "../nftables/table.ts";
import { change } from "../nftables/transaction.ts";
import { spoofChains } from "./reference-names.ts";

const table: Table = { family: "bridge", name: "nat" };
const entry = { table, name: "PREROUTING" };

/** Takes away the guard of an interface. One look where there is none. */
export function removeReferenceSpoofCheck(ns: Namespace, owner: Attachment): void {
  const connection = ns.netfilter;
  const chains = spoofChains(owner).map((name) => ({ table, name }));
  change(
    connection,
    (replies) => {
      const there = chains.filter((_, at) => !replies[at]!.error);
      if (there.length === 0) return [];
      const leads = listRules(connection, entry).filter((rule) => factsOf(rule).chain === chains[0]!.name);
      // The second is led to by the first, whose rules go with it.
      return [...leads.map(deleteRule), ...there.map(deleteChain)];
    },
    chains.map(getChain),
  );
}

/** Whether frames that come by the link are guarded as the reference does it. */
export function hasReferenceSpoofCheck(ns: Namespace, owner: Attachment, link: string): boolean {
  const [first, second] = spoofChains(owner);
  const rules = listRules(ns.netfilter, { table });
  const leads = (from: string, to: string, by?: string) =>
    rules.some((rule) => {
      const facts = factsOf(rule);
      return rule.chain.name === from && facts.chain === to && facts.link === by;
    });
  return (
    leads(entry.name, first, link) &&
    leads(first, second) &&
    rules.filter(({ chain }) => chain.name === second).length > 1
  );
}
