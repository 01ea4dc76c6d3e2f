// Ranges of addresses: within one network, and between networks that one node has.
import { readFields, type Values } from "../../lib/cni/config.ts";
import { CniError } from "../../lib/cni/errors.ts";
import { isUsable, type Range, rangeConf, readRangeSets, toNumber, toText } from "../../lib/ipam/ranges.ts";
import { parseCidr, parseIp } from "../../lib/netlink/inet.ts";
import { type Conf, type Document, type Entry, isObject, textOf, valueAt } from "./document.ts";
import { join, type Report } from "./finding.ts";
import { reportRefusal } from "./values.ts";

/** What one place of a configuration gives out. */
export interface Pool {
  document: Document;
  path: string;
  first: bigint;
  last: bigint;
  lowest: bigint;
  highest: bigint;
  bridge: string;
}

/** Looks at the ranges of one file; returns what can be compared with other files'. */
export function checkAddresses(document: Document, report: Report): Pool[] {
  return document.entries.flatMap((entry) => {
    if (entry.ipam === "host-local") return hostLocal(document, entry, report);
    if (entry.ipam === "static") return fixed(document, entry);
    return [];
  });
}

/** The ranges as they stand there, each with its key. */
function given({ conf }: Entry): { key: string; range: Conf }[][] {
  const ipam = valueAt(conf, "ipam") as Conf;
  const ranges = valueAt(ipam, "ranges");
  const sets = valueAt(ipam, "subnet") === undefined ? [] : [[{ key: "ipam", range: ipam }]];
  if (!Array.isArray(ranges)) return sets;
  ranges.forEach((set, i) => {
    if (Array.isArray(set))
      sets.push(set.flatMap((range, j) => (isObject(range) ? [{ key: `ipam.ranges[${i}][${j}]`, range }] : [])));
  });
  return sets;
}

function hostLocal(document: Document, entry: Entry, report: Report): Pool[] {
  const places = given(entry);
  let sets: ReturnType<typeof readRangeSets>;
  try {
    const read = places.map((set) =>
      set.map(({ key, range }) => ({
        key,
        range: readFields(rangeConf, range, `${key}.`) as Values<typeof rangeConf>,
      })),
    );
    // Values of a wrong type are told of by the table: here is what makes no sense together.
    sets = readRangeSets(read);
  } catch (error) {
    if (!(error instanceof CniError)) throw error;
    if (!/must be (a|an|true|six)\b/.test(error.message)) reportRefusal(error, "ipam", entry.path, report);
    return [];
  }
  const all = sets.flatMap((set, i) => set.map((range, j) => ({ range, key: places[i]![j]!.key })));
  for (const { range, key } of all) {
    const path = join(entry.path, key);
    const { gateway, subnet } = range;
    const bounds = spanOf(range);
    if (gateway < bounds.lowest || gateway > bounds.highest)
      report(
        "error",
        "gateway",
        join(path, "gateway"),
        `${toText(gateway)} is not in ${textOf(valueAt(rangeAt(places, key), "subnet"))}: no pod can reach it`,
      );
    const giver = sets.find((set) => isUsable(set, gateway));
    if (giver)
      report(
        "error",
        "gateway",
        join(path, "gateway"),
        `${toText(gateway)} may be given to a pod: another range of the network has it`,
        'the same "gateway" in all ranges of the subnet, or "exclude"',
      );
    const size = range.spans.reduce((sum, [first, last]) => sum + last - first + 1n, 0n);
    if (size === 0n) report("error", "no-range", path, "Nothing is left to give out");
    else if (subnet.ip.length === 4 && size < 4n) report("note", "small-range", path, `It has ${size} addresses`);
  }
  return all.map(({ range, key }) => ({
    document,
    path: join(entry.path, key),
    first: range.first,
    last: range.last,
    ...spanOf(range),
    bridge: bridgeOf(entry),
  }));
}

const rangeAt = (places: ReturnType<typeof given>, key: string) =>
  places.flat().find((place) => place.key === key)!.range;

function spanOf({ subnet }: Pick<Range, "subnet">): { lowest: bigint; highest: bigint } {
  const hosts = BigInt(subnet.ip.length * 8 - subnet.prefix);
  const lowest = (toNumber(subnet.ip) >> hosts) << hosts;
  return { lowest, highest: lowest + (1n << hosts) - 1n };
}

function fixed(document: Document, entry: Entry): Pool[] {
  const addresses = valueAt(entry.conf, "ipam", "addresses");
  if (!Array.isArray(addresses)) return [];
  return addresses.flatMap((one, at) => {
    const text = isObject(one) ? textOf(valueAt(one, "address")) : "";
    const subnet = parseCidr(text);
    const ip = parseIp(text.split("/")[0]!);
    if (!subnet || !ip) return [];
    const address = toNumber(ip);
    const path = `${join(entry.path, "ipam.addresses")}[${at}]`;
    return [{ document, path, first: address, last: address, ...spanOf({ subnet }), bridge: bridgeOf(entry) }];
  });
}

function bridgeOf({ type, conf }: Entry): string {
  return type === "bridge" ? textOf(valueAt(conf, "bridge")) || "cni0" : "";
}

/** Compares the networks of several files with each other. */
export function compareNetworks(
  documents: readonly Document[],
  pools: readonly Pool[],
  reportOf: (file: string) => Report,
): void {
  documents.forEach((document, at) => {
    const twin = documents.slice(0, at).find(({ name }) => name === document.name && name !== "");
    if (twin)
      reportOf(document.file)(
        "error",
        "same-name",
        "name",
        `${twin.file} is network ${document.name} too: they would share reservations and rules`,
        "another name",
      );
  });
  pools.forEach((pool, at) => {
    const { document, path, first, last, lowest, highest, bridge } = pool;
    for (const other of pools.slice(0, at)) {
      // Within one file the reading has told of it; of one name the name says enough.
      if (other.document === document || other.document.name === document.name) continue;
      const report = reportOf(document.file);
      const where = `${other.path} of network ${other.document.name} in ${other.document.file}`;
      if (first <= other.last && other.first <= last)
        report(
          "error",
          "overlap",
          path,
          `It overlaps with ${where}: two pods may get one address`,
          "ranges of its own",
        );
      else if (lowest <= other.highest && other.lowest <= highest && (bridge === "" || bridge !== other.bridge))
        report("warning", "overlap", path, `Its subnet overlaps with that of ${where}: the node has two ways to it`);
    }
  });
}
