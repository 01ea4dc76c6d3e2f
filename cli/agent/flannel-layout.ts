// Flannel's keys in etcd, below PREFIX (usually /coreos.com/network), so that nodes of Flannel and of ours share a network while
// one after the other is moved over: pkg/subnet/subnet.go and pkg/subnet/config.go of flannel-io/flannel.
//   config                    {"Network", "SubnetLen", "SubnetMin", "SubnetMax", ..., "Backend": {"Type", "VNI", ...}}
//   subnets/10.5.34.0-24      a node's lease; "10.5.34.0-24&fd00:5:22::-64" with two families
//                             {"PublicIP", "PublicIPv6", "BackendType", "BackendData": {"VNI", "VtepMAC"}, "BackendV6Data"}
// A node has no name there: it goes by its public address.
import { readFile } from "node:fs/promises";
import { formatCidr, ipToNumber, networkOf, numberToIp, parseCidr } from "../../lib/netlink/inet.ts";
import { macOf } from "../../lib/peers/device.ts";
import type { PeerNode } from "../../lib/peers/snapshot.ts";
import { Subnets } from "./claim.ts";
import { type Layout, type Session, takeKey } from "./layout.ts";
import { readNode } from "./records.ts";
import type { Range } from "./settings.ts";

const TRIES = 200;

/** What of Flannel's configuration matters here. */
export interface FlannelConfig {
  ranges: Range[];
  /** Outside of these IPv4 subnets, none is given out: the first and the last one. */
  least?: string;
  most?: string;
  backend: { type: string; vni: number };
}

/** Reads Flannel's network configuration, with its defaults. Throws what is wrong with it. */
export function readFlannelConfig(text: string): FlannelConfig {
  const json = JSON.parse(text);
  const type = `${json.Backend?.Type ?? "udp"}`.toLowerCase();
  if (type !== "vxlan" && type !== "host-gw")
    throw new Error(`Cannot join Flannel's network: its backend is ${type}, and must be vxlan or host-gw`);
  const ranges: Range[] = [];
  const add = (cidr: unknown, given: unknown, usual: number) => {
    const parsed = typeof cidr === "string" ? parseCidr(cidr) : undefined;
    if (!parsed) throw new Error(`Cannot join Flannel's network: ${JSON.stringify(cidr)} is no network`);
    const size = Number(given) || (parsed.prefix <= usual - 2 ? usual : parsed.prefix + 2);
    ranges.push({ cidr: formatCidr({ ip: networkOf(parsed), prefix: parsed.prefix }), size });
  };
  if (json.EnableIPv4 !== false) add(json.Network, json.SubnetLen, 24);
  if (json.EnableIPv6) add(json.IPv6Network, json.IPv6SubnetLen, 64);
  const { SubnetMin: least, SubnetMax: most } = json;
  return {
    ranges,
    ...(least ? { least } : {}),
    ...(most ? { most } : {}),
    backend: { type, vni: json.Backend?.VNI || 1 },
  };
}

/** The subnets that Flannel's file on this host, subnet.env, names; none without the file. */
export async function readSubnetFile(file: string): Promise<string[]> {
  const text = await readFile(file, "utf8").catch(() => "");
  return [...text.matchAll(/^FLANNEL_(?:IPV6_)?SUBNET=(\S+)$/gm)].flatMap(([, gateway]) => {
    const cidr = parseCidr(gateway!);
    return cidr ? formatCidr({ ip: networkOf(cidr), prefix: cidr.prefix }) : [];
  });
}

/** "10.5.34.0-24&fd00::-64" is both subnets. */
export function subnetsOfKey(name: string): string[] {
  return name.split("&").map((part) => part.replace(/-(\d+)$/, "/$1"));
}

export const keyOfSubnets = (subnets: readonly string[]): string =>
  subnets.map((subnet) => subnet.replace("/", "-")).join("&");

export interface FlannelPlace {
  prefix: string;
  network: string;
  subnetFile: string;
  /** Takes over Flannel's device on this host, if there is one: its MAC address, which the others know. */
  adopt(vni: number): string | undefined;
}

export function flannelLayout({ prefix, network, subnetFile, adopt }: FlannelPlace): Layout {
  const nodes = `${prefix}/subnets/`;
  /** As it joined last. */
  let me: Pick<PeerNode, "name" | "addresses"> = { name: "", addresses: [] };

  /** This node's lease in Flannel's words. */
  function leaseText({ self }: Session, { type, vni }: FlannelConfig["backend"], mac: string | undefined): string {
    const four = self.addresses.find((address) => !address.includes(":"));
    const six = self.addresses.find((address) => address.includes(":"));
    const data = type === "vxlan" ? { VNI: vni, VtepMAC: mac } : undefined;
    return JSON.stringify({
      PublicIP: four ?? "0.0.0.0",
      PublicIPv6: six ?? null,
      BackendType: type,
      ...(data && four ? { BackendData: data } : {}),
      ...(data && six ? { BackendV6Data: data } : {}),
    });
  }

  const take = (session: Session, subnets: readonly string[], value: string) =>
    takeKey(session, nodes + keyOfSubnets(subnets), value, (there) => isOf(there, session.self.addresses));

  async function claim(
    session: Session,
    config: FlannelConfig,
    known: string[] | undefined,
    value: string,
  ): Promise<string[]> {
    const { client, memory, self, say } = session;
    const fits = (subnets: readonly string[]) =>
      subnets.length === config.ranges.length &&
      config.ranges.every((range, at) => new Subnets(range).holds(subnets[at]!));
    for (const subnets of [known ?? [], memory.subnets, await readSubnetFile(subnetFile)])
      if (fits(subnets) && (await take(session, subnets, value))) return subnets;
    for (let tries = 0; tries < TRIES; tries++) {
      const { kvs } = await client.getAll().prefix(nodes).exec();
      const subnets = config.ranges.map((range) => {
        const map = new Subnets(range);
        for (const one of outside(range, config)) map.take(one);
        for (const { key } of kvs) for (const one of subnetsOfKey(key.toString().slice(nodes.length))) map.take(one);
        const subnet = map.next(self.name);
        if (subnet === undefined)
          throw new Error(`Cannot join network "${network}": all subnets of ${range.cidr} are taken`);
        return subnet;
      });
      if (await take(session, subnets, value)) {
        say(`${network}: claimed ${subnets.join(" and ")}`);
        return subnets;
      }
    }
    throw new Error(`Cannot join network "${network}": others were faster ${TRIES} times`);
  }

  return {
    nodes,
    read(key, value) {
      const subnets = subnetsOfKey(key.slice(nodes.length));
      const { PublicIP, PublicIPv6, BackendData, BackendV6Data } = JSON.parse(value);
      const addresses = [PublicIP, PublicIPv6].filter(
        (one) => typeof one === "string" && !/^(0\.0\.0\.0|::)$/.test(one),
      );
      const mac = (BackendData ?? BackendV6Data)?.VtepMAC;
      const isSelf = addresses.some((address) => me.addresses.includes(address));
      return readNode({ name: isSelf ? me.name : addresses[0], subnets, addresses, ...(mac ? { mac } : {}) }, key);
    },
    async join(session) {
      me = session.self;
      const { kvs } = await session.client.get(`${prefix}/config`).exec();
      if (!kvs[0]) throw new Error(`Cannot join network "${network}": there is no "${prefix}/config" in etcd`);
      const config = readFlannelConfig(kvs[0].value.toString());
      const { type, vni } = config.backend;
      if (type === "vxlan" && config.ranges.some(({ cidr }) => cidr.includes(":")))
        throw new Error(
          `Cannot join network "${network}": Flannel has a tunnel of its own for IPv6, which ours is not`,
        );
      const leases = await session.client.getAll().prefix(nodes).exec();
      const own = leases.kvs.find(({ value }) => isOf(value.toString(), session.self.addresses));
      const adopted = type === "vxlan" ? adopt(vni) : undefined;
      const mac =
        adopted ?? (own && JSON.parse(own.value.toString()).BackendData?.VtepMAC) ?? macOf(network, vni, session.self);
      const known = own && subnetsOfKey(own.key.toString().slice(nodes.length));
      const subnets = await claim(session, config, known, leaseText(session, config.backend, mac));
      session.memory.subnets = subnets;
      return nodes + keyOfSubnets(subnets);
    },
  };
}

/** Whether a lease is this node's: Flannel goes by the public address. */
function isOf(value: string, addresses: readonly string[]): boolean {
  try {
    const { PublicIP, PublicIPv6 } = JSON.parse(value);
    return addresses.includes(PublicIP) || (PublicIPv6 !== null && addresses.includes(PublicIPv6));
  } catch {
    return false;
  }
}

/** What Flannel gives to no node: the first subnet, or what is below SubnetMin and above SubnetMax. */
export function outside({ cidr, size }: Range, { least, most }: Pick<FlannelConfig, "least" | "most">): string[] {
  const { ip, prefix } = parseCidr(cidr)!;
  const bits = ip.length * 8;
  const base = ipToNumber(ip);
  const step = 1n << BigInt(bits - size);
  const at = (number: bigint) => formatCidr({ ip: numberToIp(number, ip.length), prefix: size });
  if (ip.length === 16 || (least === undefined && most === undefined)) return [at(base)];
  const number = (text: string) => ipToNumber(parseCidr(`${text}/32`)!.ip);
  const first = least === undefined ? base + step : number(least);
  const last = most === undefined ? base + (1n << BigInt(bits - prefix)) - step : number(most);
  const found: string[] = [];
  for (let one = base; one < base + (1n << BigInt(bits - prefix)); one += step)
    if (one < first || one > last) found.push(at(one));
  return found;
}
