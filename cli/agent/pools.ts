// How many addresses the node's subnets still have for pods, by the files of host-local.
import { readdirSync } from "node:fs";
import { contains, parseCidr, parseIp } from "../../lib/netlink/inet.ts";

export interface Pool {
  subnet: string;
  size: number;
  free: number;
}

/** The pools of a network: its ranges as host-local has them, without the network's own address, broadcast and gateway. */
export function poolsOf(network: string, subnets: readonly string[], folder = "/var/lib/cni/networks"): Pool[] {
  let names: string[] = [];
  try {
    names = readdirSync(`${folder}/${network}`);
  } catch {
    // No pod had an address yet.
  }
  const taken = names.flatMap((name) => parseIp(name) ?? []);
  return subnets.flatMap((subnet) => {
    const cidr = parseCidr(subnet);
    if (!cidr) return [];
    const bits = cidr.ip.length * 8 - cidr.prefix;
    const size = 2 ** bits - (cidr.ip.length === 4 ? 3 : 2);
    const used = taken.filter((ip) => ip.length === cidr.ip.length && contains(cidr, ip)).length;
    return { subnet, size, free: size - used };
  });
}
