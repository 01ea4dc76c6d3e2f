// What nftables does to a packet, read from the sets of table inet tenon: masquerade, bridges kept apart, published ports,
// forged source addresses; and what other tables drop.
import { droppingChains } from "../../lib/ip/foreign-filter.ts";
import { bridges, loops } from "../../lib/ip/forward-filter.ts";
import { checkInIptables, familyOf, forwardDrops } from "../../lib/ip/iptables.ts";
import { isMap, type ProtocolWay, protocols, wayOf } from "../../lib/ip/port-mapping.ts";
import { formatIp, ipToNumber, parseIp } from "../../lib/netlink/inet.ts";
import type { Namespace } from "../../lib/netns/netns.ts";
import { listElements, listSets } from "../../lib/nftables/attachment.ts";
import type { Element } from "../../lib/nftables/element.ts";
import { bridge, inet } from "../../lib/nftables/layout.ts";
import { listRules } from "../../lib/nftables/rule.ts";

const size = 16; // IFNAMSIZ: names side by side, NUL to the end
const namesOf = ({ key }: Element): string[] => {
  const names: string[] = [];
  for (let at = 0; at + size <= key.length; at += size)
    names.push(new TextDecoder().decode(key.subarray(at, at + size)).replace(/\0.*$/s, ""));
  return names;
};

/** Whether the interval set holds the address. */
function holds(elements: readonly Element[], address: string): boolean {
  const number = ipToNumber(parseIp(address)!);
  const edges = elements.map(({ key, end }) => ({ from: ipToNumber(key), end })).filter(({ from }) => from <= number);
  edges.sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : a.end ? -1 : 1));
  return edges.length > 0 && !edges.at(-1)!.end;
}

/** Whether a packet leaves with its own source address; `why` in words. */
export function masqueradeOf(ns: Namespace, from: string, to: string): { hidden: boolean; why: string } {
  const family = from.includes(":") ? 6 : 4;
  const sets = listSets(ns.netfilter, inet);
  const elements = (name: string) => listElements(ns.netfilter, { table: inet, name });
  const has = (name: string, address: string) => elements(name).some(({ key }) => formatIp(key) === address);
  for (const { name } of sets) {
    const [, network] = new RegExp(`^cluster/(.*)/pods${family}/`).exec(name) ?? [];
    if (!network) continue;
    const pods = elements(name);
    if (holds(pods, from) && (holds(pods, to) || has(`cluster/${network}/nodes${family}`, to)))
      return { hidden: false, why: `both are in the cluster of network ${network}` };
  }
  for (const { name } of sets) {
    if (!name.startsWith("masq/") || !has(name, from)) continue;
    const place = name.slice("masq/".length);
    const exempt = sets.filter((set) => set.name.startsWith(`exempt/${place}/`));
    if (exempt.some((set) => holds(elements(set.name), to)))
      return { hidden: false, why: `${to} is exempt in ${place}` };
    return { hidden: true, why: `${from} is masqueraded in ${place}` };
  }
  return { hidden: false, why: `${from} is in no network that is masqueraded` };
}

/** Why a packet between two links is dropped by the firewall's policy; undefined if it is not. */
export function keptApart(ns: Namespace, input: string, output: string): string | undefined {
  const guarded = listElements(ns.netfilter, bridges).flatMap(namesOf);
  if (!guarded.includes(input) || !guarded.includes(output)) return undefined;
  if (listElements(ns.netfilter, loops).some((pair) => namesOf(pair).join(" ") === `${input} ${output}`))
    return undefined;
  return input === output
    ? `bridge ${input} is isolated: its pods are kept from each other (ingressPolicy of plugin firewall)`
    : `bridges ${input} and ${output} are kept apart (ingressPolicy of plugin firewall)`;
}

/** What other tables do to what is forwarded: `drops`, for sure; `doubts`, unless a rule of theirs lets it pass. */
export function foreignVerdict(ns: Namespace, from: string, to: string): { drops?: string; doubts: string[] } {
  const family = familyOf(from);
  const doubts = droppingChains(ns).map((chain) => `${chain} drops what none of its rules lets pass`);
  if (!forwardDrops(ns, family)) return { doubts };
  const program = family === 4 ? "iptables" : "ip6tables";
  const isAccepted = (address: string) => {
    try {
      checkInIptables(ns, [address]);
      return true;
    } catch {
      return false; // CHECK of the plugin firewall would say the same
    }
  };
  if (isAccepted(from) || isAccepted(to)) return { doubts };
  const table = { family: family === 4 ? "ip" : "ip6", name: "filter" } as const;
  const rules = listRules(ns.netfilter, { table, name: "FORWARD" });
  const drops = `chain FORWARD of ${program} drops it, and lets neither address pass: plugin firewall would see to that`;
  return rules.length === 0
    ? { drops, doubts }
    : { doubts: [...doubts, drops.replace("drops it", "drops by default")] };
}

/** Where a port of the host leads, and whose it is. */
export function publishedAt(
  ns: Namespace,
  protocol: keyof typeof protocols,
  address: string,
  port: number,
): (ProtocolWay & { label?: string }) | undefined {
  const family = address.includes(":") ? "ip6" : "ip";
  const maps = listSets(ns.netfilter, inet).filter(
    (set) =>
      set.data !== undefined && isMap(set) && (set.name === `ports/${family}` || set.name === `ports/${family}/at`),
  );
  // A mapping of one address comes before those of all.
  maps.sort((a, b) => b.name.length - a.name.length);
  for (const set of maps) {
    for (const element of listElements(ns.netfilter, set)) {
      const way = wayOf(element);
      const isIt = way.protocol === protocols[protocol] && way.hostPort === port;
      if (isIt && (way.hostIp === undefined || way.hostIp === address)) return { ...way, label: element.comment };
    }
  }
  return undefined;
}

/** The only MAC address that a guarded port takes frames from; undefined for a port that is not guarded. */
export function guardedMac(ns: Namespace, port: string): string | undefined {
  const macs = listElements(ns.netfilter, { table: bridge, name: "spoof/macs" });
  const own = macs.find((element) => namesOf(element)[0] === port);
  return own && [...own.key.subarray(size, size + 6)].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
