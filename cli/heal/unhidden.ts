// Connections to the outside that pods began while their masquerade was missing. The kernel goes on as it began, with the pod's
// own address, to which no answer comes back: TCP until its client gives up, UDP for as long as anybody tries. Forgotten,
// their next packet is masqueraded.
import { deleteFlow, dumpFlows, type Flow, readFlow } from "../../lib/netlink/conntrack.ts";
import { type Cidr, contains, parseCidr, parseIp } from "../../lib/netlink/inet.ts";
import { dumpAddresses, readAddress } from "../../lib/netlink/rtnl/address.ts";
import { host } from "../../lib/netns/netns.ts";
import { loadSnapshot } from "../../lib/peers/snapshot.ts";
import { stampedNetworks, stampOf } from "../../lib/peers/stamp.ts";
import type { Attachment } from "./attachments.ts";

const [TCP, UDP] = [6, 17];
/** Deletions in one send, which must fit the socket. */
const atOnce = 256;

/** Forgets those of attachments whose masquerade is back; how many. */
export function forgetUnhidden(attachments: readonly Attachment[]): number {
  const pods = new Set<string>();
  const spared: Cidr[] = [...nearby(), ...["224.0.0.0/4", "ff00::/8"].map((text) => parseCidr(text)!)];
  for (const { result, steps } of attachments) {
    for (const { address } of result.ips ?? []) {
      pods.add(address.split("/")[0]!);
      spared.push(parseCidr(address)!);
    }
    for (const { json } of steps)
      if (Array.isArray(json.masqExempt)) spared.push(...json.masqExempt.flatMap((text) => parseCidr(`${text}`) ?? []));
  }
  const isUnhidden = ({ original, reply }: Flow) =>
    pods.has(original.source) &&
    // Nothing of it is translated, by nobody.
    reply.destination === original.source &&
    reply.source === original.destination &&
    !spared.some((cidr) => isIn(cidr, original.destination));
  let count = 0;
  for (const family of [2, 10] as const) {
    for (const protocol of [TCP!, UDP!]) {
      const flows = host.netfilter.dump(dumpFlows(family, protocol)).map(readFlow).filter(isUnhidden);
      for (let at = 0; at < flows.length; at += atOnce)
        host.netfilter.request(...flows.slice(at, at + atOnce).map(deleteFlow));
      count += flows.length;
    }
  }
  return count;
}

/** What is this node's own or the cluster's: never masqueraded. */
function nearby(): Cidr[] {
  const own = host.route.dump(dumpAddresses(0)).map((answer) => readAddress(answer).ip);
  const others = stampedNetworks().flatMap((network) => {
    try {
      const file = stampOf(network)?.paths.file;
      const nodes = (file && loadSnapshot(file)?.nodes) || [];
      return nodes.flatMap(({ subnets, addresses }) => [...subnets, ...addresses]);
    } catch {
      return []; // told by who programmes it
    }
  });
  return [...own, ...others].flatMap((text) => {
    if (text.includes("/")) return parseCidr(text) ?? [];
    const ip = parseIp(text);
    return ip ? { ip, prefix: ip.length * 8 } : [];
  });
}

function isIn(cidr: Cidr, address: string): boolean {
  const ip = parseIp(address);
  return ip !== undefined && ip.length === cidr.ip.length && contains(cidr, ip);
}
