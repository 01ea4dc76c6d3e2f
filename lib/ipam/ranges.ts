// Ranges that addresses are given out of: how a configuration names them, and what of them may be used.
// https://www.cni.dev/plugins/current/ipam/host-local/; keys and defaults are the reference plugin's.
// A range set is a pool: one address comes out of each set. Addresses are counted as 128-bit numbers, IPv4 ones in
// their IPv4-mapped form, so that one comparison orders all and no IPv4 address equals an IPv6 one.
import { cidr, config, ip, list, string, type Type, type Values } from "../cni/config.ts";
import { badConfig } from "../cni/errors.ts";
import {
  type Cidr,
  equalBytes,
  formatIp,
  ipToNumber,
  networkOf,
  numberToIp,
  parseCidr,
  parseIp,
} from "../netlink/inet.ts";

const MAPPED = 0xffff_0000_0000n;

/** The number of an address. */
export function toNumber(ip: Uint8Array): bigint {
  return ip.length === 4 ? MAPPED | ipToNumber(ip) : ipToNumber(ip);
}

/** The text of an address: also the name of its reservation file. */
export function toText(address: bigint): string {
  return formatIp(address >> 32n === 0xffffn ? numberToIp(address & 0xffff_ffffn, 4) : numberToIp(address, 16));
}

/** All addresses from the first to the last. */
export type Span = readonly [first: bigint, last: bigint];

export interface Range {
  subnet: Cidr;
  first: bigint;
  last: bigint;
  gateway: bigint;
  /** What may be given out, in order. */
  spans: Span[];
}

export type RangeSet = readonly Range[];

/** One range as it is configured. */
export const rangeConf = config({
  subnet: [cidr, { required: true }, "network of the range, without host bits"],
  rangeStart: [ip, "first address; default: the one after the network's"],
  rangeEnd: [ip, "last address; default: the one before the broadcast address, for IPv6 the subnet's last"],
  gateway: [ip, "gateway, never given out; default: the one after the network's"],
  exclude: [list(string), "never given out: addresses, networks and ranges such as 10.0.0.8-10.0.0.15"],
});

/** A range with the name of its place in the configuration, for messages. */
export interface Given {
  key: string;
  range: Values<typeof rangeConf>;
}

/** Reads range sets in the order in which they are asked for addresses. Code 7 for what makes no sense. */
export function readRangeSets(given: readonly (readonly Given[])[]): RangeSet[] {
  const sets = given.map((set) => set.map(readRange));
  given.forEach((set, i) => {
    set.forEach(({ key }, j) => {
      const { subnet, first, last } = sets[i]![j]!;
      const text = `${formatIp(subnet.ip)}/${subnet.prefix}`;
      if (subnet.ip.length !== sets[i]![0]!.subnet.ip.length) {
        throw badConfig(`${key}.subnet`, text, "all ranges of a set must be of one address family");
      }
      for (let k = 0; k <= i; k++) {
        const other = sets[k]!.slice(0, k === i ? j : undefined).find(
          (other) => first <= other.last && other.first <= last,
        );
        if (other)
          throw badConfig(`${key}.subnet`, text, `${describe([sets[i]![j]!])} overlaps with ${describe([other])}`);
      }
    });
  });
  return sets;
}

function readRange({ key, range }: Given): Range {
  const { subnet } = range;
  const bits = subnet.ip.length * 8;
  const text = `${formatIp(subnet.ip)}/${subnet.prefix}`;
  if (subnet.prefix > bits - 2)
    throw badConfig(`${key}.subnet`, text, `too small, at most /${bits - 2} can be given out`);
  const network = networkOf(subnet);
  if (!equalBytes(network, subnet.ip)) {
    throw badConfig(`${key}.subnet`, text, `it has host bits, the network is ${formatIp(network)}/${subnet.prefix}`);
  }
  const lowest = toNumber(network);
  const highest = lowest + (1n << BigInt(bits - subnet.prefix)) - 1n;
  const within = (name: "rangeStart" | "rangeEnd", fallback: bigint) => {
    const address = range[name] === undefined ? fallback : toNumber(parseIp(range[name])!);
    if (address < lowest || address > highest) throw badConfig(`${key}.${name}`, range[name], `must be in ${text}`);
    return address;
  };
  // Real configurations name the broadcast address as the end (Podman with --ip-range) and the network's as the start.
  // Both stay in the range, so that a pointer there is understood, but nobody gets them. The reference gives them out.
  const first = within("rangeStart", lowest + 1n);
  const last = within("rangeEnd", bits === 32 ? highest - 1n : highest);
  if (last < first)
    throw badConfig(`${key}.rangeEnd`, range.rangeEnd ?? toText(last), `must not be before ${toText(first)}`);
  const gateway = range.gateway === undefined ? lowest + 1n : toNumber(parseIp(range.gateway)!);
  const blocked: Span[] = [
    [lowest, lowest],
    [gateway, gateway],
  ];
  if (bits === 32) blocked.push([highest, highest]);
  range.exclude?.forEach((text, at) => {
    blocked.push(readExcluded(text, `${key}.exclude[${at}]`, [lowest, highest]));
  });
  return { subnet, first, last, gateway, spans: subtract([first, last], blocked) };
}

/** Reads "address", "network/length" or "first-last". It must touch the subnet: a slip of the pen would protect nothing. */
function readExcluded(text: string, key: string, [lowest, highest]: Span): Span {
  const [first, last = first] = text.split("-").map((part) => parseIp(part.trim()));
  const network = parseCidr(text);
  let span: Span | undefined;
  if (network) {
    const start = toNumber(networkOf(network));
    if (start !== toNumber(network.ip)) throw badConfig(key, text, "it has host bits");
    span = [start, start + (1n << BigInt(network.ip.length * 8 - network.prefix)) - 1n];
  } else if (first && last && text.split("-").length <= 2) span = [toNumber(first), toNumber(last)];
  if (!span) throw badConfig(key, text, "must be an address, a network such as 10.0.0.8/29, or first-last");
  if (span[1] < span[0]) throw badConfig(key, text, "the last address comes before the first");
  if (span[1] < lowest || span[0] > highest) throw badConfig(key, text, "it is not in the range's subnet");
  return span;
}

/** What remains of a span without the others. */
function subtract([first, last]: Span, blocked: readonly Span[]): Span[] {
  const rest: Span[] = [];
  let next = first;
  for (const [from, to] of [...blocked].sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0))) {
    if (from > last) break;
    if (from > next) rest.push([next, from - 1n]);
    if (to >= next) next = to + 1n;
  }
  if (next <= last) rest.push([next, last]);
  return rest;
}

/** The range of a set that an address lies in. */
export function rangeOf(set: RangeSet, address: bigint): Range | undefined {
  return set.find(({ first, last }) => first <= address && address <= last);
}

/** Whether the set may give this address to somebody. */
export function isUsable(set: RangeSet, address: bigint): boolean {
  return set.some(({ spans }) => spans.some(([first, last]) => first <= address && address <= last));
}

/** How many addresses the set may give out. */
export function sizeOf(set: RangeSet): bigint {
  let size = 0n;
  for (const { spans } of set) for (const [first, last] of spans) size += last - first + 1n;
  return size;
}

/** "10.1.2.1-10.1.2.254,10.1.3.1-10.1.3.254" */
export function describe(set: RangeSet): string {
  return set.map(({ first, last }) => `${toText(first)}-${toText(last)}`).join(",");
}

/** An address that is asked for, with or without the length of its network's prefix, as its number. */
export const requestedAddress: Type<bigint> = {
  schema: { type: "string" },
  read(value, key) {
    const text = string.read(value, key, {});
    const bytes = text.includes("/") ? parseCidr(text)?.ip : parseIp(text);
    if (!bytes) throw badConfig(key, value, "must be an IP address");
    return toNumber(bytes);
  },
};
