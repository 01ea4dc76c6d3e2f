// Ranges that addresses are given out of: how a configuration names them, and what of them may be used.
// https://www.cni.dev/plugins/current/ipam/host-local/; keys and defaults are the reference plugin's.
// A range set is a pool: one address comes out of each set. Addresses are counted as 128-bit numbers, IPv4 ones in
// their IPv4-mapped form, so that one comparison orders all and no IPv4 address equals an IPv6 one.
import { cidr, config, ip, list, string, type Type, type Values } from "../cni/config.ts";
import { badConfig } from "../cni/errors.ts";
import { type Cidr, formatCidr, formatIp, numberToIp, parseCidr, parseIp } from "../netlink/inet.ts";

/** The number of an address. */
export function toNumber(ip: Uint8Array): bigint {
  let number = ip.length === 4 ? 0xffffn : 0n;
  for (let i = 0; i < ip.length; i += 2) number = (number << 16n) | BigInt((ip[i]! << 8) | ip[i + 1]!);
  return number;
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
  const sets: Range[][] = [];
  for (const each of given) {
    const set: Range[] = [];
    sets.push(set);
    for (const one of each) {
      const range = readRange(one);
      const refuse = (reason: string) => badConfig(`${one.key}.subnet`, formatCidr(range.subnet), reason);
      if (set.length > 0 && set[0]!.subnet.ip.length !== range.subnet.ip.length) {
        throw refuse("all ranges of a set must be of one address family");
      }
      for (const others of sets) {
        for (const other of others) {
          if (range.last < other.first || range.first > other.last) continue;
          throw refuse(`${describe([range])} overlaps with ${describe([other])}`);
        }
      }
      set.push(range);
    }
  }
  return sets;
}

function readRange({ key, range }: Given): Range {
  const { subnet } = range;
  const bits = subnet.ip.length * 8;
  if (subnet.prefix > bits - 2) {
    throw badConfig(`${key}.subnet`, formatCidr(subnet), `too small, at most /${bits - 2} can be given out`);
  }
  const [lowest, highest] = spanOf(subnet);
  if (lowest !== toNumber(subnet.ip)) {
    const network = `${toText(lowest)}/${subnet.prefix}`;
    throw badConfig(`${key}.subnet`, formatCidr(subnet), `it has host bits, the network is ${network}`);
  }
  const within = (name: "rangeStart" | "rangeEnd", text: string) => {
    const address = toNumber(parseIp(text)!);
    if (address >= lowest && address <= highest) return address;
    throw badConfig(`${key}.${name}`, text, `must be in ${formatCidr(subnet)}`);
  };
  // Real configurations name the broadcast address as the end (Podman with --ip-range) and the network's as the start.
  // Both stay in the range, so that a pointer there is understood, but nobody gets them. The reference gives them out.
  const usual: Span = [lowest + 1n, bits === 32 ? highest - 1n : highest];
  const first = range.rangeStart === undefined ? usual[0] : within("rangeStart", range.rangeStart);
  const last = range.rangeEnd === undefined ? usual[1] : within("rangeEnd", range.rangeEnd);
  if (last < first)
    throw badConfig(`${key}.rangeEnd`, range.rangeEnd ?? toText(last), `must not be before ${toText(first)}`);
  const gateway = range.gateway === undefined ? usual[0] : toNumber(parseIp(range.gateway)!);
  let spans: Span[] = [[first < usual[0] ? usual[0] : first, last > usual[1] ? usual[1] : last]];
  spans = without(spans, [gateway, gateway]);
  range.exclude?.forEach((text, at) => {
    spans = without(spans, readExcluded(text, `${key}.exclude[${at}]`, [lowest, highest]));
  });
  return { subnet, first, last, gateway, spans };
}

/** All addresses of a network. */
function spanOf({ ip, prefix }: Cidr): Span {
  const hosts = BigInt(ip.length * 8 - prefix);
  const lowest = (toNumber(ip) >> hosts) << hosts;
  return [lowest, lowest + (1n << hosts) - 1n];
}

/** Reads "address", "network/length" or "first-last". It must touch the subnet: a slip of the pen would protect nothing. */
function readExcluded(text: string, key: string, [lowest, highest]: Span): Span {
  const [first, last = first] = text.split("-").map((part) => parseIp(part.trim()));
  const network = parseCidr(text);
  let span: Span | undefined;
  if (network) {
    span = spanOf(network);
    if (span[0] !== toNumber(network.ip)) throw badConfig(key, text, "it has host bits");
  } else if (first && last && text.split("-").length <= 2) span = [toNumber(first), toNumber(last)];
  if (!span) throw badConfig(key, text, "must be an address, a network such as 10.0.0.8/29, or first-last");
  if (text.includes(":") !== toText(lowest).includes(":")) throw badConfig(key, text, "it is of the other family");
  if (span[1] < span[0]) throw badConfig(key, text, "the last address comes before the first");
  if (span[1] < lowest || span[0] > highest) throw badConfig(key, text, "it is not in the range's subnet");
  return span;
}

/** What remains of spans without another. Loops where a line would do: the first call of a built-in costs 25 µs. */
function without(spans: readonly Span[], [from, to]: Span): Span[] {
  const rest: Span[] = [];
  for (const span of spans) {
    const [first, last] = span;
    if (to < first || from > last) {
      if (first <= last) rest.push(span);
      continue;
    }
    if (first < from) rest.push([first, from - 1n]);
    if (to < last) rest.push([to + 1n, last]);
  }
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
