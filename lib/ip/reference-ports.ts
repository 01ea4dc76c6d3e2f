// Host ports that the Go plugin portmap published before ours took its place: found by their names, checked and taken away
// over netlink. Nothing here is ever made.
//
//   backend iptables, for each family (table nat); PREROUTING and OUTPUT lead packets for the host to CNI-HOSTPORT-DNAT:
//     -A CNI-HOSTPORT-DNAT -p tcp -m comment --comment 'dnat name: "net" id: "c1"' -m multiport --dports 8080,8443 -j CNI-DN-…
//     -A CNI-DN-a4f1c0cea3480fe949fc9 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.2:80
//   backend nftables, table cni_hostport of each family; whatever a container has bears its id alone:
//     hostports       tcp dport 8080 dnat to 10.1.0.2:80 comment "c1"
//     masquerading    ip saddr 10.1.0.2 ip daddr 10.1.0.2 masquerade comment "c1"
import type { Attachment } from "../cni/request.ts";
import { formatIp, parseIp } from "../netlink/inet.ts";
import type { Message } from "../netlink/socket.ts";
import type { Namespace } from "../netns/netns.ts";
import { type Chain, getChain } from "../nftables/chain.ts";
import { type Facts, factsOf } from "../nftables/facts.ts";
import { deleteRule, listRules } from "../nftables/rule.ts";
import { getTable, type Table } from "../nftables/table.ts";
import { change } from "../nftables/transaction.ts";
import { removeLegacyRules } from "./legacy-table.ts";
import { type ProtocolWay, type Published, protocols } from "./port-mapping.ts";
import {
  legacyRemovalsOf,
  mayBeThere,
  nat,
  natFacts,
  plainOf,
  removalsOf,
  staleChains,
  sweepLegacy,
} from "./reference-masquerade.ts";
import { type Owner, portsChain } from "./reference-names.ts";

const entry = "CNI-HOSTPORT-DNAT";
const native: readonly Table[] = [
  { family: "ip", name: "cni_hostport" },
  { family: "ip6", name: "cni_hostport" },
];

/**
 * Takes away what publishes an attachment's ports, and returns the ways that were led. With addresses only what leads to
 * them: a container's other attachments bear the same names. One look where there is nothing.
 */
export function removeReferencePorts(ns: Namespace, owner: Owner, addresses: readonly string[] = []): ProtocolWay[] {
  const connection = ns.netfilter;
  const name = portsChain(owner);
  const chains: Chain[] = [
    { table: nat[0], name },
    { table: nat[1], name },
  ];
  const looks = [getChain(chains[0]!), getChain(chains[1]!), getTable(native[0]!), getTable(native[1]!)];
  if (!mayBeThere(ns, looks)) return [];
  const ips = plainOf(addresses);
  const isOwn = (ip?: string) => ips.length === 0 || ip === undefined || ips.includes(ip);
  let ended: ProtocolWay[] = [];
  change(
    connection,
    (replies) => {
      ended = [];
      const changes: Message[] = [];
      chains.forEach((chain, at) => {
        if (replies[at]!.error) return;
        const ways = listRules(connection, chain).map(factsOf).flatMap(wayOf);
        // Each ADD writes the chain anew: it is of the interface that was last.
        if (ways.length > 0 && !ways.some(({ ip }) => isOwn(ip))) return;
        ended.push(...ways);
        changes.push(...removalsOf(chain, listRules(connection, { table: chain.table, name: entry }), () => true));
      });
      native.forEach((table, at) => {
        if (replies[chains.length + at]!.error) return;
        for (const rule of listRules(connection, { table })) {
          const facts = factsOf(rule);
          if (facts.comment !== owner.containerId || !isOwn(facts.to?.ip ?? facts.destination)) continue;
          ended.push(...wayOf(facts));
          changes.push(deleteRule(rule));
        }
      });
      return changes;
    },
    looks,
  );
  for (const { family } of nat) {
    let ways: ProtocolWay[] = [];
    removeLegacyRules(ns, family, "nat", (rules) => {
      ways = rules.flatMap(({ from, facts }) => (from === name ? wayOf(facts) : []));
      if (ways.length === 0 || ways.some(({ ip }) => isOwn(ip))) return legacyRemovalsOf(name, rules, () => true);
      ways = [];
      return [];
    });
    ended.push(...ways);
  }
  return ended;
}

function wayOf({ protocol, destination, ports, to }: Facts): ProtocolWay[] {
  if (!to || protocol === undefined || ports?.length !== 1) return [];
  return [{ protocol, hostIp: destination, hostPort: ports[0]!, ...to }];
}

/** Whether each of the ports is led as the reference does it, by one of its backends. */
export function hasReferencePorts(ns: Namespace, owner: Owner, { addresses, mappings }: Published): boolean {
  const connection = ns.netfilter;
  const name = portsChain(owner);
  const facts: (Facts & { from?: string })[][] = nat.map((table) => natFacts(ns, table));
  for (const table of native)
    facts.push(listRules(connection, { table }).map((rule) => ({ from: rule.chain.name, ...factsOf(rule) })));
  return plainOf(addresses).every((ip, _, ips) => {
    const six = ip.includes(":");
    const [iptables, nftables] = six ? [facts[1]!, facts[3]!] : [facts[0]!, facts[2]!];
    const enters = (rules: typeof iptables, from: string, to: string) =>
      rules.some((rule) => rule.from === from && rule.chain === to);
    const inIptables = enters(iptables, "PREROUTING", entry);
    const inNftables =
      enters(nftables, "prerouting", "hostports_all") && enters(nftables, "hostports_all", "hostports");
    return mappings.every(({ protocol, hostIp, hostPort, containerPort }) => {
      const at = hostIp === undefined ? undefined : formatIp(parseIp(hostIp)!);
      if (at !== undefined && at.includes(":") !== six) return ips.some((other) => other.includes(":") !== six);
      const number = protocols[protocol];
      const leads = (rule: (typeof iptables)[number], chain: string) =>
        rule.from === chain &&
        rule.protocol === number &&
        rule.ports?.includes(hostPort) === true &&
        rule.destination === (at === "0.0.0.0" || at === "::" ? undefined : at) &&
        rule.to?.ip === ip &&
        rule.to.port === containerPort;
      const led = ({ from, chain, protocol, ports }: (typeof iptables)[number]) =>
        from === entry && chain === name && protocol === number && ports?.includes(hostPort) === true;
      return (
        (inIptables && iptables.some(led) && iptables.some((rule) => leads(rule, name))) ||
        (inNftables && nftables.some((rule) => rule.comment === owner.containerId && leads(rule, "hostports")))
      );
    });
  });
}

/** GC: takes away the ports of the network's containers that are not among these. Those of nftables do not say their network. */
export function sweepReferencePorts(ns: Namespace, network: string, valid: readonly Attachment[]): void {
  const connection = ns.netfilter;
  change(connection, () => nat.flatMap((table) => staleChains(connection, table, network, valid, portsChain)));
  sweepLegacy(ns, network, valid, portsChain);
}
