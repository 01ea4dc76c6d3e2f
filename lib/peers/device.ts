// The tunnel's device on this node: `tenon.VNI`, a vxlan link whose peers are all told to it, with the first address of each
// of the node's pod networks, so that what this host sends to pods elsewhere comes from an address that leads back here.
// Documentation/networking/vxlan.rst of the kernel.
import { CniError, codes, isErrno } from "../cni/errors.ts";
import { hashedMac } from "../cni/identity.ts";
import { addressOf, listAddresses } from "../ip/address.ts";
import { findLink, isUp, type Link, listLinks, removeLink } from "../ip/link.ts";
import { ensureForwarding, readSysctl, writeSysctls } from "../ip/sysctl.ts";
import { parseCidr } from "../netlink/inet.ts";
import { type Address, createAddress, deleteAddress } from "../netlink/rtnl/address.ts";
import { changeLink, createLink, type LinkSpec, setLink } from "../netlink/rtnl/link.ts";
import type { Namespace } from "../netns/netns.ts";
import { ensureChecksum, hasChecksum, wantedChecksum } from "./checksum.ts";
import type { Paths } from "./conf.ts";
import type { PeerNode } from "./snapshot.ts";
import { overheadOf, type Underlay } from "./underlay.ts";

type Tunnel = NonNullable<Paths["tunnel"]>;

/** The device as it is to be. */
export interface Device {
  network: string;
  name: string;
  mac: string;
  mtu: number;
  vni: number;
  port: number;
  /** The tunnel's source, and the index of the underlay. */
  local: string;
  link: number;
  /** Checksums by the card; undefined: as the kernel has it. */
  checksum?: boolean;
  /** "10.1.2.0/32": the first address of each network of this node's pods. */
  addresses: string[];
}

/** The MAC address of a node's device: its own, or what every node makes of the same names. */
export function macOf(network: string, vni: number, node: Pick<PeerNode, "name" | "mac">): string {
  return node.mac ?? hashedMac(`vxlan\0${network}\0${vni}\0${node.name}`);
}

export const deviceName = (vni: number) => `tenon.${vni}`;

/** The first address of a network, alone: "10.1.2.0/24" is "10.1.2.0". */
export const baseOf = (subnet: string) => subnet.slice(0, subnet.indexOf("/"));

export function deviceOf(paths: Paths, tunnel: Tunnel, self: PeerNode, underlay: Underlay): Device {
  const { vni, port } = tunnel;
  const most = (underlay.link.mtu ?? 1500) - overheadOf(underlay.family);
  return {
    network: paths.network,
    name: deviceName(vni),
    mac: macOf(paths.network, vni, self),
    mtu: Math.min(tunnel.mtu ?? most, most), // the kernel would cut it down by itself, and not say so
    vni,
    port,
    local: underlay.local,
    link: underlay.link.index,
    checksum: wantedChecksum(tunnel.txChecksum, underlay.link.name ?? ""),
    addresses: self.subnets.map((subnet) => `${baseOf(subnet)}/${subnet.includes(":") ? 128 : 32}`),
  };
}

const marked = "tenon network ";
const aliasOf = ({ network }: Device) => marked + network;
/** Whether a link is the device that this network made. */
export const isDeviceOf = (link: Link, network: string): boolean =>
  link.info?.kind === "vxlan" && link.alias === marked + network;

const differs = (what: string) => new CniError(codes.alreadyExists, `Cannot make the tunnel's device: ${what}`);

const dataOf = ({ local, link }: Device) => ({
  link,
  ...(local.includes(":") ? { local6: local } : { local }),
  learning: false,
});

/** Which settings of a device are others than wanted: those that only a new one can have, and those that can be changed. */
function difference(want: Device, have: Link): { fixed: string[]; loose: string[] } {
  const data = (have.info?.data ?? {}) as Record<string, unknown>;
  const fixed: string[] = [];
  const loose: string[] = [];
  const compare = (into: string[], what: string, a: unknown, b: unknown) => {
    if (a !== b) into.push(`${what} ${b ?? "none"}, not ${a}`);
  };
  compare(fixed, "kind", "vxlan", have.info?.kind);
  if (fixed.length > 0) return { fixed, loose };
  compare(fixed, "VNI", want.vni, data.id);
  compare(fixed, "port", want.port, data.port);
  const six = want.local.includes(":");
  const local = data.local ?? data.local6;
  compare(typeof local === "string" && local.includes(":") === six ? loose : fixed, "source", want.local, local);
  compare(loose, "underlay", want.link, data.link);
  compare(loose, "learning", false, data.learning);
  compare(loose, "MAC address", want.mac, have.mac);
  compare(loose, "MTU", want.mtu, have.mtu);
  if (!isUp(have)) loose.push("it is down");
  return { fixed, loose };
}

/** The device of that name; a link of the name that is another network's, or no tunnel of ours, is an error. */
export function findDevice(ns: Namespace, want: Device): Link | undefined {
  const there = findLink(ns, want.name);
  if (!there) return undefined;
  if (there.info?.kind !== "vxlan") throw differs(`link "${want.name}" exists and is no vxlan device`);
  if (there.alias?.startsWith(marked) && there.alias !== aliasOf(want))
    throw differs(`VNI ${want.vni} belongs to network "${there.alias.slice(marked.length)}"`);
  return there;
}

/**
 * Makes the device or brings it to what is wanted; the entries of its tables outlive every change but that of VNI, port and
 * family. Code 102 where another device has the VNI and the port.
 */
export function ensureDevice(ns: Namespace, want: Device): { index: number; changed: boolean } {
  let there = findDevice(ns, want);
  let changed = false;
  if (there) {
    const { fixed, loose } = difference(want, there);
    if (fixed.length > 0 || (loose.length > 0 && !mend(ns, want, there))) {
      removeLink(ns, { index: there.index });
      there = undefined;
    }
    changed = loose.length > 0;
  }
  const index = there?.index ?? make(ns, want);
  settle(ns, want, index, there !== undefined && !changed);
  if (want.checksum !== undefined && ensureChecksum(ns, index, want.checksum)) changed = true;
  return { index, changed: changed || !there };
}

function make(ns: Namespace, want: Device): number {
  const { name, mac, mtu, vni: id, port } = want;
  const spec: LinkSpec = { name, mac, mtu, info: { kind: "vxlan", data: { id, port, ...dataOf(want) } } };
  try {
    ns.route.request(createLink(spec), setLink({ name, alias: aliasOf(want) }));
  } catch (error) {
    const other = isErrno(error, "EEXIST") && clashing(ns, want);
    if (!other) throw error;
    throw differs(`link "${other.name}" has VNI ${want.vni} and port ${want.port} already`);
  }
  return findLink(ns, name)!.index;
}

/** The device, if any, that keeps ours from its VNI and port. */
export function clashing(ns: Namespace, { name, vni, port }: Pick<Device, "name" | "vni" | "port">): Link | undefined {
  return listLinks(ns, { kind: "vxlan" }).find(
    ({ name: other, info }) => other !== name && info?.data?.id === vni && info?.data?.port === port,
  );
}

/** False where the kernel cannot change it. */
function mend(ns: Namespace, want: Device, { index, mac }: Link): boolean {
  // In two messages: settings of the kind and the MTU in one are refused.
  const kind = changeLink({ index, info: { kind: "vxlan", data: dataOf(want) } });
  const spec: LinkSpec = { index, mtu: want.mtu, up: true };
  const [reply] = ns.route.try(kind);
  if (!reply!.error) ns.route.request(changeLink(mac === want.mac ? spec : { ...spec, mac: want.mac }));
  else if (!isErrno(reply!.error, "EOPNOTSUPP", "EINVAL", "EEXIST")) throw reply!.error;
  return !reply!.error;
}

/** Addresses and flags; `same`: the device was found as wanted. */
function settle(ns: Namespace, want: Device, index: number, same: boolean): void {
  const conf = `ipv6/conf/${want.name}/`;
  // Before it is up: no link-local address is made, and no router is listened to.
  if (!same) writeSysctls(ns, { [`${conf}addr_gen_mode`]: "1", [`${conf}accept_ra`]: "0" });
  const there = ownAddresses(ns, index);
  const missing = want.addresses.filter((text) => !there.some((have) => textOf(have) === text));
  ns.route.request(
    ...there.filter((have) => !want.addresses.includes(textOf(have))).map(deleteAddress),
    ...missing.map((text) => ({ ...createAddress(addressOf(index, parseCidr(text)!)), accept: ["EEXIST"] })),
    ...(same ? [] : [changeLink({ index, up: true })]),
  );
  for (const family of [4, 6] as const)
    if (want.addresses.some((text) => text.includes(":") === (family === 6))) ensureForwarding(ns, family);
}

const textOf = ({ ip, prefix }: Address) => `${ip}/${prefix}`;
/** All but link-local ones. */
const ownAddresses = (ns: Namespace, index: number) => listAddresses(ns, index).filter(({ scope }) => scope === 0);

/** What is not as ensureDevice would make it, in words. */
export function compareDevice(ns: Namespace, want: Device): string[] {
  let there: Link | undefined;
  try {
    there = findDevice(ns, want);
  } catch (error) {
    if (error instanceof CniError) return [error.message];
    throw error;
  }
  if (!there) {
    const other = clashing(ns, want);
    if (other) return [`device ${want.name}: "${other.name}" has VNI ${want.vni} and port ${want.port}`];
    return [`device ${want.name}: it is missing`];
  }
  const { fixed, loose } = difference(want, there);
  const found = [...fixed, ...loose].map((text) => `device ${want.name}: ${text}`);
  if (want.checksum !== undefined && hasChecksum(ns, there.index) !== want.checksum)
    found.push(`device ${want.name}: checksums by the card are ${want.checksum ? "off" : "on"}`);
  const addresses = ownAddresses(ns, there.index).map(textOf);
  for (const text of want.addresses)
    if (!addresses.includes(text)) found.push(`device ${want.name}: address ${text} is missing`);
  for (const text of addresses)
    if (!want.addresses.includes(text)) found.push(`device ${want.name}: address ${text} is surplus`);
  return found;
}

/** Settings of the host that keep packets from passing, in words. */
export function compareForwarding(ns: Namespace, families: readonly (4 | 6)[]): string[] {
  return families.flatMap((family) => {
    const name = family === 4 ? "ipv4/ip_forward" : "ipv6/conf/all/forwarding";
    return readSysctl(ns, name) === "1" ? [] : [`net/${name} is not 1: the host forwards no IPv${family} packets`];
  });
}
