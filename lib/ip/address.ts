// Addresses of links on a host or in a pod.
import { badConfig, CniError, codes } from "../cni/errors.ts";
import {
  type Cidr,
  contains,
  formatIp,
  ipToNumber,
  networkOf,
  numberToIp,
  parseCidr,
  parseIp,
} from "../netlink/inet.ts";
import {
  type Address,
  createAddress,
  deleteAddress,
  dumpAddresses,
  IFA_F_DADFAILED,
  IFA_F_NODAD,
  IFA_F_TENTATIVE,
  readAddress,
} from "../netlink/rtnl/address.ts";
import { changeLink, type Link } from "../netlink/rtnl/link.ts";
import { findPath } from "../netlink/rtnl/path.ts";
import { RTN_LOCAL, readRoutes } from "../netlink/rtnl/route.ts";
import type { Reply } from "../netlink/socket.ts";
import type { Namespace } from "../netns/netns.ts";
import { sleep, waitUntil } from "../sys/libc.ts";
import { filtered, first, mapped } from "../sys/list.ts";

/** An address as the kernel is to get it: IPv4 with its broadcast address, IPv6 without duplicate detection. */
export function addressOf(index: number, cidr: Cidr, duplicateDetection = false): Address {
  const address: Address = { index, ip: formatIp(cidr.ip), prefix: cidr.prefix };
  if (cidr.ip.length === 16) return duplicateDetection ? address : { ...address, flags: IFA_F_NODAD };
  if (cidr.prefix > 30) return address;
  const mask = networkOf({ ip: new Uint8Array(4).fill(255), prefix: cidr.prefix });
  return { ...address, broadcast: formatIp(networkOf(cidr).map((byte, at) => byte | (~mask[at]! & 255))) };
}

/** The first address of the network that an "address/length" is in: the gateway where none is named. */
export function firstAddress(address: string): string {
  const network = networkOf(parseCidr(address)!);
  return formatIp(numberToIp(ipToNumber(network) + 1n, network.length));
}

/** Whether an IP address is of the network that an "address/length" is in. */
export function isInSubnet(address: string, ip: string): boolean {
  return contains(parseCidr(address)!, parseIp(ip)!);
}

/** The addresses of one link. */
export function listAddresses(ns: Namespace, index: number): Address[] {
  const addresses = mapped(ns.route.dump(dumpAddresses(index)), readAddress);
  return filtered(addresses, (address) => address.index === index);
}

/**
 * Gives a bridge the gateway's address. It may have one IPv4 address, and IPv6 addresses of subnets that do not
 * overlap: another one is an error, or is taken away with `force`.
 */
export function ensureGatewayAddress(ns: Namespace, bridge: Link, text: string, force: boolean): void {
  const wanted = parseCidr(text)!;
  const clash = ({ ip, prefix, scope }: Address): boolean => {
    const other = cidrOf(ip, prefix);
    if (other.ip.length !== wanted.ip.length || scope !== 0) return false;
    return wanted.ip.length === 4 || contains(other, wanted.ip) || contains(wanted, other.ip);
  };
  const addresses = listAddresses(ns, bridge.index);
  if (first(addresses, ({ ip, prefix }) => `${ip}/${prefix}` === text)) return;
  const others = filtered(addresses, clash);
  if (others.length > 0 && !force) {
    const { ip, prefix } = others[0]!;
    throw badConfig("bridge", bridge.name, `it has address ${ip}/${prefix} already, and the gateway is to be ${text}`);
  }
  ns.route.request(
    // The last of a subnet's may have gone with the first.
    ...mapped(others, (other) => ({ ...deleteAddress(other), accept: ["EADDRNOTAVAIL"] })),
    { ...createAddress(addressOf(bridge.index, wanted)), accept: ["EEXIST"] },
    // Named explicitly, the MAC address stays when ports come and go.
    ...(bridge.mac ? [changeLink({ index: bridge.index, mac: bridge.mac })] : []),
  );
  awaitLocal(ns, [text]);
}

function cidrOf(ip: string, prefix: number): Cidr {
  return { ip: parseIp(ip)!, prefix };
}

/**
 * Returns when the namespace takes what is sent to these of its addresses. To a new one of IPv6 the kernel leads packets in
 * work of its own (addrconf_dad_work), late where many change links at once, and drops what comes before. After a second
 * it is let be: a rule may lead the address elsewhere.
 */
export function awaitLocal(ns: Namespace, addresses: readonly string[]): void {
  const looks = mapped(
    filtered(addresses, (address) => address.includes(":")),
    (address) => findPath({ to: address.split("/")[0]! }),
  );
  if (looks.length === 0) return;
  const isLocal = ({ answers: [answer] }: Reply) => answer !== undefined && readRoutes(answer)[0]?.kind === RTN_LOCAL;
  waitUntil(() => first(ns.route.try(...looks), (reply) => !isLocal(reply)) === undefined, 1000);
}

/** Waits until duplicate detection is over: 1 s as a rule, 5 s at most. */
export function waitForAddresses(ns: Namespace, index: number): void {
  for (let waited = 0; ; waited += 50) {
    const addresses = listAddresses(ns, index).filter(({ ip }) => ip.includes(":"));
    const failed = addresses.find(({ flags = 0 }) => flags & IFA_F_DADFAILED);
    if (failed) throw new CniError(codes.systemFailure, `Cannot use address ${failed.ip}: another host has it`);
    if (!addresses.some(({ flags = 0 }) => flags & IFA_F_TENTATIVE)) return;
    if (waited >= 5000) throw new CniError(codes.tryAgain, "Cannot finish: duplicate address detection takes over 5 s");
    sleep(50);
  }
}
