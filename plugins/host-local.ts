#!/usr/bin/env bun
// host-local: addresses out of ranges of this node, remembered in files.
// https://www.cni.dev/plugins/current/ipam/host-local/
import {
  bool,
  cidr,
  config,
  later,
  list,
  object,
  parseArgs,
  readFields,
  string,
  type Type,
} from "../lib/cni/config.ts";
import { badConfig, CniError, codes, toCniError, transaction } from "../lib/cni/errors.ts";
import { main } from "../lib/cni/main.ts";
import { anyCase, type Plugin, type Request } from "../lib/cni/request.ts";
import { assertOnePerFamily, type Result, routeConf } from "../lib/cni/result.ts";
import { hasFree, takeNext, takeRequested } from "../lib/ipam/pool.ts";
import {
  describe,
  type Given,
  isUsable,
  type RangeSet,
  rangeConf,
  rangeOf,
  readRangeSets,
  requestedAddress,
  toText,
} from "../lib/ipam/ranges.ts";
import { readResolvConf } from "../lib/ipam/resolv-conf.ts";
import { ownerText, type Place, readOwner, type Store, withStore, withStoreIfAny } from "../lib/ipam/store.ts";

const path: Type<string> = {
  schema: string.schema,
  read(value, key, bounds) {
    const text = string.read(value, key, bounds);
    if (text.includes("\0")) throw badConfig(key, value, "a path must not hold a NUL");
    return text;
  },
};

const place = config({
  dataDir: [path, { default: "/var/lib/cni/networks" }, "folder of the reservations; each network has its own below"],
  cacheDir: [path, { default: "/run/tenon/host-local" }, 'folder of what is known of them; "": read them each time'],
});

const ipam = config({
  ...place,
  ...rangeConf,
  subnet: [cidr, "network of a single range; its other keys may stand here too"],
  ranges: [list(list(object(rangeConf))), { default: [] }, "range sets: one address comes out of each"],
  routes: [list(object(routeConf)), { default: [] }, "routes for the result"],
  resolvConf: [path, { default: "" }, "resolv.conf to read dns of the result from"],
  idempotent: [bool, { default: false }, "ADD of what has an address already gives the same one; default: an error"],
  alwaysSearch: [bool, { default: false }, "search the bitmap for every address, also where the next one is free"],
});

const ips = list(requestedAddress);
const conf = config({
  ipam: [later(object(ipam)), "this plugin's part of a network configuration"],
  runtimeConfig: [
    later(
      object({
        ipRanges: [list(list(object(rangeConf))), { default: [] }, "range sets that come before the configured ones"],
        ips: [ips, { default: [] }, "addresses asked for"],
      }),
    ),
    "capabilities",
  ],
  args: [later(object({ cni: [object({ ips: [ips, "addresses asked for"] }), "arguments"] })), "arguments"],
});

type HostLocalRequest = Request<typeof conf>;

/** Where the network's reservations are: all that DEL and GC need of the configuration. */
function placeOf({ json, network }: HostLocalRequest): Place {
  const { dataDir, cacheDir } = readFields(place, anyCase(json, "ipam") ?? {}, "ipam.");
  return { directory: `${dataDir || "/var/lib/cni/networks"}/${network}`, cache: cacheDir };
}

function settingsOf({ conf }: HostLocalRequest) {
  if (!conf.ipam) throw badConfig("ipam", undefined, "it is required");
  return conf.ipam();
}

/** The range sets, in the order that numbers their files: the runtime's, the single range, the list. */
function rangeSetsOf(request: HostLocalRequest, settings = settingsOf(request)): RangeSet[] {
  const { subnet, rangeStart, rangeEnd, gateway, exclude, ranges } = settings;
  const keyed = (name: string, sets: typeof ranges): Given[][] =>
    sets.map((set, i) => {
      if (set.length === 0) throw badConfig(`${name}[${i}]`, set, "a range set must have a range");
      return set.map((range, j) => ({ key: `${name}[${i}][${j}]`, range }));
    });
  const sets = [
    ...keyed("runtimeConfig.ipRanges", request.conf.runtimeConfig?.().ipRanges ?? []),
    ...(subnet ? [[{ key: "ipam", range: { subnet, rangeStart, rangeEnd, gateway, exclude } }]] : []),
    ...keyed("ipam.ranges", ranges),
  ];
  if (sets.length === 0) throw badConfig("ipam.ranges", ranges, "there must be a range, here or as ipam.subnet");
  return readRangeSets(sets);
}

/** The address that each set is asked for, undefined for any. */
function requestedOf({ conf, args }: HostLocalRequest, sets: readonly RangeSet[]): (bigint | undefined)[] {
  /** What is asked for, and by which key. */
  const wanted = new Map<bigint, string>();
  const ask = (key: string, addresses: readonly bigint[] | undefined) => {
    for (const address of addresses ?? []) wanted.set(address, key);
  };
  const named = parseArgs(args, ["IP"]).IP;
  if (named)
    ask(
      "CNI_ARGS IP",
      named.split(",").map((text) => requestedAddress.read(text, "CNI_ARGS IP", {})),
    );
  ask("args.cni.ips", conf.args?.().cni?.ips);
  ask("runtimeConfig.ips", conf.runtimeConfig?.().ips);
  if (wanted.size === 0) return [];
  const requested = sets.map((set) => {
    for (const [address, key] of wanted) {
      const range = rangeOf(set, address);
      if (!range) continue;
      wanted.delete(address);
      if (isUsable(set, address)) return address;
      throw badConfig(key, toText(address), range.gateway === address ? "it is the gateway" : "it is never given out");
    }
    return undefined;
  });
  for (const [address, key] of wanted) {
    throw badConfig(key, toText(address), `no further range set has it: ${sets.map(describe).join(" ")}`);
  }
  return requested;
}

function add(request: HostLocalRequest): Result {
  const settings = settingsOf(request);
  const { routes, resolvConf, idempotent, alwaysSearch } = settings;
  const sets = rangeSetsOf(request, settings);
  const requested = requestedOf(request, sets);
  assertOnePerFamily(
    sets.map((set) => toText(set[0]!.first)),
    request.cniVersion,
  );
  const dns = resolvConf ? readResolvConf(resolvConf, "ipam.resolvConf") : undefined;
  const { containerId, ifname } = request;
  const owner = ownerText(containerId, ifname);

  /** An address of the set that the attachment has already and may keep; an error if it has others. */
  const keep = (store: Store, set: RangeSet, asked: bigint | undefined): bigint | undefined => {
    // Asked for by address the attachment may have a second one, as with the reference.
    if (asked !== undefined && !idempotent) return undefined;
    const held = [...store.held(owner), ...store.held(containerId)].filter((address) => rangeOf(set, address));
    const same = asked === undefined ? held[0] : held.find((address) => address === asked);
    if (held.length === 0 || (idempotent && same !== undefined)) return same;
    const text = `Cannot give "${containerId}" ${ifname} an address of ${describe(set)}`;
    throw new CniError(codes.alreadyExists, `${text}: it has ${held.map(toText).join(", ")}`);
  };

  const take = (store: Store, set: RangeSet, number: number, asked: bigint | undefined): bigint => {
    if (asked !== undefined) {
      if (takeRequested(store, owner, asked)) return asked;
      throw new CniError(codes.alreadyExists, `Cannot give out requested address ${toText(asked)}: it is taken`);
    }
    const address = takeNext(store, set, number, owner, alwaysSearch);
    if (address !== undefined) return address;
    throw new CniError(codes.exhausted, `Cannot allocate from range set ${describe(set)}: no address is free`);
  };

  return withStore(placeOf(request), (store) =>
    transaction((undo) => {
      const ips = sets.map((set, number) => {
        let address = keep(store, set, requested[number]);
        if (address === undefined) {
          const taken = take(store, set, number, requested[number]);
          undo(() => store.release(taken, owner));
          store.setLast(number, taken);
          address = taken;
        }
        const { subnet, gateway } = rangeOf(set, address)!;
        return { address: `${toText(address)}/${subnet.prefix}`, gateway: toText(gateway) };
      });
      return { ips, routes, dns };
    }),
  );
}

/** What the attachment holds: under its own name, else under the container's alone, as long ago. */
function holdings(store: Store, { containerId, ifname }: HostLocalRequest): { owner: string; addresses: bigint[] } {
  const owner = ownerText(containerId, ifname);
  const addresses = store.held(owner);
  return addresses.length > 0 ? { owner, addresses } : { owner: containerId, addresses: store.held(containerId) };
}

function check(request: HostLocalRequest): void {
  const sets = rangeSetsOf(request);
  const { directory } = placeOf(request);
  const { containerId, ifname, prevResult } = request;
  const held = withStoreIfAny(placeOf(request), (store) => holdings(store, request).addresses) ?? [];
  const missing = (what: string) =>
    new CniError(codes.checkFailed, `Cannot find ${what} of "${containerId}" ${ifname} in "${directory}"`);
  if (held.length === 0) throw missing("a reservation");
  for (const { address: text, interface: at } of prevResult?.ips ?? []) {
    const address = requestedAddress.read(text, "prevResult.ips", {});
    const link = at === undefined ? undefined : prevResult?.interfaces?.[at];
    // Other plugins of the list may have given addresses too.
    const isOurs = (!link || link.name === ifname) && sets.some((set) => rangeOf(set, address));
    if (isOurs && !held.includes(address)) throw missing(`the reservation of ${toText(address)}`);
  }
}

function gc(request: HostLocalRequest): void {
  const attachments = new Set(
    request.validAttachments!.map(({ containerId, ifname }) => ownerText(containerId, ifname)),
  );
  const containers = new Set(request.validAttachments!.map(({ containerId }) => containerId));
  const isDead = (content: string) => {
    const owner = readOwner(content);
    if (!owner) return true;
    return owner.ifname === undefined ? !containers.has(content) : !attachments.has(content);
  };
  const errors = withStoreIfAny(placeOf(request), (store) =>
    store.rebuild(({ content }) => content !== undefined && isDead(content)),
  );
  if (errors?.length) throw new AggregateError(errors, "Cannot remove all reservations that nobody holds");
}

function status(request: HostLocalRequest): void {
  const sets = rangeSetsOf(request);
  const unavailable = (reason: string) => new CniError(codes.unavailable, `Cannot serve ADD: ${reason}`);
  const full = sets.filter((set) => !set.some(({ spans }) => spans.length > 0));
  try {
    withStoreIfAny(placeOf(request), (store) => full.push(...sets.filter((set) => !hasFree(store, set))));
  } catch (error) {
    throw unavailable(toCniError(error).message);
  }
  if (full.length > 0) throw unavailable(`no address is free in ${[...new Set(full)].map(describe).join(" ")}`);
}

export const plugin: Plugin<typeof conf> = {
  conf,
  add,
  check,
  del: (request) => {
    withStoreIfAny(placeOf(request), (store) => {
      const { owner, addresses } = holdings(store, request);
      for (const address of addresses) store.release(address, owner);
    });
  },
  gc,
  status,
};

if (import.meta.main) main(plugin);
