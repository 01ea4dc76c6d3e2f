// Published ports: connections to a port of the host lead to a port of a pod. One static set of rules in table inet tenon
// (lib/nftables/layout.ts), whatever the number of ports, and maps that are looked up by hash:
//
//   prerouting    ip saddr != 127.0.0.0/8  ip daddr 127.0.0.0/8  drop          route_localnet opens what this closes
//   prerouting, output    fib daddr type local  jump published
//   published     ip6 daddr ::1 return;  mark set 0x1000;  jump hostports;  mark cleared
//   hostports     dnat ip to ip daddr . meta l4proto . th dport map @ports/ip/at       of one address of the host
//                 dnat ip to meta l4proto . th dport map @ports/ip                     of all of them; ip6 likewise
//                 (each element counts its connections)
//   postrouting   mark 0x1000  mark cleared  jump sources
//   sources       ip saddr & MASK . ip daddr @ports/from/ip/LENGTH masquerade          answers must come back by the host
//
// A mapping is one element of a map for each family, and a pod's address one of each network whose connections hide
// behind the host: its own subnet and 127.0.0.0/8, or 0.0.0.0/0. Every comment is the attachment's label. The map
// ports/attachments counts an attachment's elements: DEL of a pod without any is one question, and DEL of one that is
// told the mappings knows whether it found all. The mark tells our own connections from those that others send to the pod.
//
// A network with conditions has maps of its own, ports/if/FINGERPRINT/ip, and rules in front that begin with them.
// What is described here is made, compared and taken away by publish.ts.
import { CniError, codes } from "../cni/errors.ts";
import { type Cidr, equalBytes, formatIp, networkOf, parseCidr, parseIp } from "../netlink/inet.ts";
import type { NamedSet, Place } from "../nftables/attachment.ts";
import type { Chain } from "../nftables/chain.ts";
import type { Element } from "../nftables/element.ts";
import { inet, output, postrouting, prerouting, publishedMark } from "../nftables/layout.ts";
import { hash } from "../nftables/name.ts";
import {
  clearMark,
  daddr,
  dnatTo,
  dport,
  drop,
  hasMark,
  inSet,
  jump,
  l4proto,
  leave,
  masquerade,
  notFromNetwork,
  type Phrase,
  saddrNetwork,
  say,
  setMark,
  toNetwork,
  toThisHost,
} from "../nftables/phrase.ts";
import type { Rule } from "../nftables/rule.ts";
import type { SetSpec } from "../nftables/set.ts";
import type { Way } from "./flows.ts";
import { conditionsOf } from "./packet-conditions.ts";

/** IPPROTO_*. */
export const protocols = { tcp: 6, udp: 17, sctp: 132 } as const;

export interface PortMapping {
  protocol: keyof typeof protocols;
  /** Absent: all of the host's addresses; 0.0.0.0 and ::, all of the family. */
  hostIp?: string;
  hostPort: number;
  containerPort: number;
}

/** All that an attachment publishes. */
export interface Published {
  /** The attachment, by labelOf, and by hostLinkName. */
  label: string;
  name: string;
  /** The pod's addresses with the length of their subnet's prefix, one of a family. */
  addresses: readonly string[];
  mappings: readonly PortMapping[];
  /** Whose connections get the host's address: nobody's, those of neighbours and of the host's loopback, everybody's. */
  hide: "none" | "near" | "all";
  /** What packets must be like besides, in words, by family. */
  conditions?: { 4: readonly string[]; 6: readonly string[] };
}

const published: Chain = { table: inet, name: "published" };
const hostports: Chain = { table: inet, name: "hostports" };
const sources: Chain = { table: inet, name: "sources" };
/** The chains that only published ports use by now, in an order in which they can be deleted. */
export const own = [prerouting, output, published, hostports, sources];

/** How many elements an attachment has in the others. */
export const attachments: SetSpec = { table: inet, name: "ports/attachments", key: ["ifname"], data: ["mark"] };
const loopback = { 4: "127.0.0.0/8", 6: "::1/128" };
const everything = { 4: "0.0.0.0/0", 6: "::/0" };

type Family = 4 | 6;
const families = [4, 6] as const;
const familyOf = ({ length }: Uint8Array): Family => (length === 4 ? 4 : 6);
const wordOf = (family: Family) => (family === 4 ? "ip" : "ip6");

/** The map of mappings of one family: of all addresses, or of one each. */
function mapOf(family: Family, at: boolean, conditions = ""): SetSpec {
  const address = family === 4 ? "ipv4_addr" : "ipv6_addr";
  return {
    table: inet,
    name: `ports/${conditions}${wordOf(family)}${at ? "/at" : ""}`,
    key: at ? [address, "inet_proto", "inet_service"] : ["inet_proto", "inet_service"],
    data: [address, "inet_service"],
    counted: true,
  };
}

/** The set of networks, of one length, and of the pods to which their connections hide. */
function fromOf(family: Family, prefix: number): SetSpec {
  const address = family === 4 ? "ipv4_addr" : "ipv6_addr";
  return { table: inet, name: `ports/from/${wordOf(family)}/${prefix}`, key: [address, address] };
}

/** Parts side by side, each padded to whole registers; a number is a port. */
function join(...parts: (Uint8Array | number)[]): Uint8Array {
  const bytes = new Uint8Array(36);
  let length = 0;
  for (const part of parts) {
    if (typeof part === "number") bytes.set([part >> 8, part & 255], length);
    else bytes.set(part, length);
    length += typeof part === "number" ? 4 : (part.length + 3) & ~3;
  }
  return bytes.slice(0, length);
}

/** The key in `attachments`. */
export function nameKey(name: string): Uint8Array {
  const key = new Uint8Array(16);
  key.set(new TextEncoder().encode(name));
  return key;
}

/** Its data. */
export function countData(count: number): Uint8Array {
  const data = new Uint8Array(4);
  new DataView(data.buffer).setUint32(0, count, true);
  return data;
}

/** A way and, as read from the kernel, how many connections took it. */
export type ProtocolWay = Way & { protocol: number; count?: number };

export interface Wanted {
  /** The mappings and the networks that hide. */
  places: Place[];
  sets: SetSpec[];
  /** The rules beyond the fixed ones: built when looked at. `front`: before all others, the last one first. */
  rules(): { rule: Rule; front: boolean }[];
}

/** The pure description of what an attachment wants: ensure makes it, check compares with it. */
export function wanted({ addresses, mappings, hide, conditions }: Published): Wanted {
  const places: Place[] = [];
  const sets = new Map<string, SetSpec>();
  const rules: (() => { rule: Rule; front: boolean })[] = [];
  for (const text of addresses) {
    const address = parseCidr(text);
    if (!address) throw new TypeError(`Cannot publish ports of "${text}": not an address with the length of a prefix`);
    const family = familyOf(address.ip);
    const words = conditions?.[family] ?? [];
    const condition = conditionsOf(words, family);
    const prefix = condition.length > 0 ? `if/${hash(words.join(" "))}/` : "";
    const maps = { any: mapOf(family, false, prefix), at: mapOf(family, true, prefix) };
    const before = places.length;
    const twins = new Map<string, Uint8Array>();
    for (const mapping of mappings) {
      const ip = hostIpOf(mapping);
      if (ip && familyOf(ip) !== family) continue;
      const place = placeOf(maps, mapping, ip, address.ip);
      const name = `${place.set.name} ${place.key}`;
      const twin = twins.get(name);
      if (twin && !equalBytes(twin, place.data!)) {
        throw new CniError(codes.invalidConfig, `Cannot publish ${nameOf(mapping)}: it is asked for twice`);
      }
      if (!twin) places.push(place);
      twins.set(name, place.data!);
    }
    if (places.length === before) continue;
    for (const set of [maps.any, maps.at]) {
      sets.set(set.name, set);
      if (prefix) rules.push(() => ({ rule: mapRule(set, family, set === maps.at, condition), front: true }));
    }
    for (const network of hidden(address, family, hide)) {
      const set = fromOf(family, network.prefix);
      places.push({ set, key: join(networkOf(network), address.ip) });
      if (!sets.has(set.name)) rules.push(() => ({ rule: fromRule(set, family, network.prefix), front: false }));
      sets.set(set.name, set);
    }
  }
  return { places, sets: [...sets.values()], rules: () => rules.map((make) => make()) };
}

/** The element of a mapping. */
function placeOf(
  maps: { any: SetSpec; at: SetSpec },
  mapping: PortMapping,
  ip: Uint8Array | undefined,
  address: Uint8Array,
): Place & { data: Uint8Array } {
  const at = ip?.some((byte) => byte !== 0) ? ip : undefined;
  const port = join(Uint8Array.of(protocols[mapping.protocol]), mapping.hostPort);
  return {
    set: at ? maps.at : maps.any,
    key: at ? join(at, port) : port,
    data: join(address, mapping.containerPort),
    taken(holder) {
      throw new CniError(codes.alreadyExists, `Cannot publish ${nameOf(mapping)}: attachment "${holder}" has it`);
    },
  };
}

function hostIpOf({ hostIp }: PortMapping): Uint8Array | undefined {
  if (hostIp === undefined) return undefined;
  const ip = parseIp(hostIp);
  if (!ip) throw new TypeError(`Cannot publish ports of "${hostIp}": not an IP address`);
  return ip;
}

const nameOf = ({ protocol, hostPort, hostIp }: PortMapping) =>
  `${protocol} port ${hostPort} of ${hostIp ?? "every address"}`;

/** The networks whose connections to this address hide behind the host's. */
function hidden(address: Cidr, family: Family, hide: Published["hide"]): Cidr[] {
  if (hide === "none") return [];
  if (hide === "all") return [parseCidr(everything[family])!];
  // Not ::1: the kernel takes no answer for it from another link.
  return family === 4 ? [address, parseCidr(loopback[4])!] : [address];
}

function mapRule(set: SetSpec, family: Family, at: boolean, conditions: readonly Phrase[] = []): Rule {
  const fields = at ? [daddr[family], l4proto, dport] : [l4proto, dport];
  return { chain: hostports, expressions: say(...conditions, dnatTo(family, fields, set)), comment: set.name };
}

function fromRule(set: SetSpec, family: Family, prefix: number): Rule {
  const expressions = say(inSet([saddrNetwork(family, prefix), daddr[family]], set), masquerade);
  return { chain: sources, expressions, comment: set.name };
}

/** The maps that are always there, and what leads packets to them: the rules of a chain in their order. */
export function fixed(): { sets: SetSpec[]; rules: Rule[] } {
  const rules: Rule[] = [];
  const add = (chain: Chain, comment: string, ...phrases: Phrase[]) =>
    rules.push({ chain, expressions: say(...phrases), comment: `ports/${comment}` });
  const local = parseCidr(loopback[4])!;
  add(prerouting, "loopback", notFromNetwork(local), toNetwork(local), drop);
  add(prerouting, "local", toThisHost, jump(published));
  add(output, "local", toThisHost, jump(published));
  add(published, "loopback", toNetwork(parseCidr(loopback[6])!), leave);
  add(published, "mark", setMark(publishedMark));
  add(published, "hostports", jump(hostports));
  add(published, "clear", clearMark(publishedMark));
  add(postrouting, "sources", hasMark(publishedMark), clearMark(publishedMark), jump(sources));
  const sets = [attachments];
  for (const family of families) {
    for (const at of [true, false]) {
      const set = mapOf(family, at);
      sets.push(set);
      rules.push(mapRule(set, family, at));
    }
  }
  return { sets, rules };
}

/** Whether the set is a map of mappings. */
export const isMap = ({ name }: NamedSet) => !name.startsWith("ports/from/");

/** What an element of a map says. */
export function wayOf({ key, data = new Uint8Array(8), packets }: Element): ProtocolWay {
  const end = key.length - 8;
  const port = data.length - 4;
  return {
    protocol: key[end]!,
    hostIp: end > 0 ? formatIp(key.subarray(0, end)) : undefined,
    hostPort: (key[end + 4]! << 8) | key[end + 5]!,
    ip: formatIp(data.subarray(0, port)),
    port: (data[port]! << 8) | data[port + 1]!,
    count: packets,
  };
}
