// Shaping: what a link of the host may send, and what may come in by it, in bytes a second after a burst.
//
//   sending:    root tbf 7e00:
//               or, with subnets, root htb 7e00: with the class 7e00:48 (its queue bfifo 7e01:) for what is shaped;
//               filters send packets there, or past it
//   receiving:  clsact ffff: (whatever hooks are there serve), filters of priority 65520 to 65522 redirect to an ifb link
//               of the attachment, root tbf 7e00:
//
// Handles and priorities are the mark by which ours are told from others'. The priorities are the last there are: programs
// that watch or police the same hook see every frame first. What the Go plugins make is known by what it does.
import { CniError, codes } from "../cni/errors.ts";
import { parseCidr } from "../netlink/inet.ts";
import { createLink, getLink, readLink, setLink } from "../netlink/rtnl/link.ts";
import type { Message } from "../netlink/socket.ts";
import { createClass, dumpClasses, readClass } from "../netlink/tc/class.ts";
import {
  createFilter,
  deleteFilters,
  dumpFilters,
  ETH_P_ALL,
  ETH_P_IP,
  ETH_P_IPV6,
  type Filter,
  type Key,
  readFilter,
} from "../netlink/tc/filter.ts";
import { handle, type Place, TC_H_MIN_INGRESS, TC_H_ROOT } from "../netlink/tc/message.ts";
import { createClsact, createQdisc, deleteQdisc, getQdisc, type Qdisc, readQdisc } from "../netlink/tc/qdisc.ts";
import { ethernetRate, noRate, RATE32_MAX, ticksOf } from "../netlink/tc/rate.ts";
import type { Namespace } from "../netns/netns.ts";
import { isErrno } from "../sys/libc.ts";
import { mapped } from "../sys/list.ts";
import { findLink, type Link, removeLink } from "./link.ts";

/** Bytes a second, and how many bytes may pass at once after a pause. */
export interface Limit {
  rate: number;
  burst: number;
}

/** Networks on the far side: the only ones that are shaped, or the ones that are not. */
export interface Subnets {
  shaped: boolean;
  cidrs: readonly string[];
}

export interface Shaping {
  sending?: Limit;
  receiving?: Limit;
  subnets?: Subnets;
}

const own = handle(0x7e00);
const shapedMinor = 0x48;
const shapedClass = handle(0x7e00, shapedMinor);
const ownQueue = handle(0x7e01);
const U32_MAX = 0xffffffff;
/** Seconds that a full queue may hold, besides the burst. */
const latency = 0.025;

const queueLimit = ({ rate, burst }: Limit) => Math.min(Math.floor(rate * latency) + burst, U32_MAX);

function tokenBucket(link: number, limit: Limit): Qdisc {
  const ticks = ticksOf(limit.burst, limit.rate);
  const parms = {
    rate: ethernetRate(limit.rate),
    peakRate: noRate,
    limit: queueLimit(limit),
    buffer: Math.min(ticks, U32_MAX),
    mtu: 0,
  };
  return {
    link,
    parent: TC_H_ROOT,
    handle: own,
    kind: "tbf",
    options: {
      parms,
      rate64: limit.rate > RATE32_MAX ? BigInt(limit.rate) : undefined,
      // More ticks than 32 bits hold, which the Go plugins cut off: in bytes it fits.
      burst: ticks > U32_MAX ? limit.burst : undefined,
    },
  };
}

/** The same for some subnets only. */
function classes(link: number, limit: Limit, subnets: Subnets): Message[] {
  const init = { version: 3, rate2quantum: 10, defaultClass: defaultClass(subnets), debug: 0, directPackets: 0 };
  const rate = ethernetRate(limit.rate);
  const rate64 = limit.rate > RATE32_MAX ? BigInt(limit.rate) : undefined;
  const buffer = Math.min(ticksOf(limit.burst, limit.rate), U32_MAX);
  const parms = { rate, ceil: rate, buffer, ceilBuffer: buffer, quantum: 60_000, level: 0, priority: 0 };
  const at = { link, handle: shapedClass, parent: own };
  const queue = { link, handle: ownQueue, parent: shapedClass, kind: "bfifo", options: { limit: queueLimit(limit) } };
  return [
    createQdisc({ link, parent: TC_H_ROOT, handle: own, kind: "htb", options: { init, directQueueLength: 1000 } }),
    createClass({ ...at, kind: "htb", options: { parms, rate64, ceil64: rate64 } }),
    createQdisc(queue),
    ...sendingFilters(link, subnets).map(createFilter),
  ];
}

// 0: past all classes.
const defaultClass = ({ shaped }: Subnets) => (shaped ? 0 : shapedMinor);

function sendingFilters(link: number, { shaped, cidrs }: Subnets): Filter[] {
  return cidrs.map((cidr) => {
    const match = matching(cidr, "source");
    const priority = match.protocol === ETH_P_IP ? 1 : 2;
    return {
      link,
      parent: own,
      priority,
      protocol: match.protocol,
      kind: "u32",
      options: { class: shaped ? shapedClass : own, keys: match.keys },
    };
  });
}

const priorities: Record<number, number> = { [ETH_P_IP]: 65520, [ETH_P_IPV6]: 65521, [ETH_P_ALL]: 65522 };
const everything: Key[] = [{ mask: 0, value: 0, offset: 0 }];

/** Filters on what comes in: redirected to `device`, or left alone, which ends the search. */
function receivingFilters(link: number, device: number, subnets?: Subnets): Filter[] {
  const filter = (protocol: number, keys: Key[], shaped: boolean): Filter => ({
    link,
    parent: TC_H_MIN_INGRESS,
    priority: priorities[protocol]!,
    protocol,
    kind: "u32",
    options: { keys, actions: shaped ? [{ kind: "mirred", redirect: device }] : undefined },
  });
  const some = subnets?.cidrs.map((cidr) => {
    const { protocol, keys } = matching(cidr, "destination");
    return filter(protocol, keys, subnets.shaped);
  });
  return subnets?.shaped ? some! : [...(some ?? []), filter(ETH_P_ALL, everything, true)];
}

/** What a packet from or to a network has in its header. */
function matching(text: string, end: "source" | "destination"): { protocol: number; keys: Key[] } {
  const cidr = parseCidr(text);
  if (!cidr) throw new TypeError(`Cannot shape subnet "${text}": must be an address and a prefix length`);
  const six = cidr.ip.length === 16;
  const start = six ? { source: 8, destination: 24 }[end] : { source: 12, destination: 16 }[end];
  const view = new DataView(cidr.ip.buffer, cidr.ip.byteOffset, cidr.ip.length);
  const keys: Key[] = [];
  for (let at = 0; at * 8 < cidr.prefix; at += 4) {
    const bits = Math.min(cidr.prefix - at * 8, 32);
    const mask = (U32_MAX << (32 - bits)) >>> 0;
    keys.push({ mask, value: (view.getUint32(at) & mask) >>> 0, offset: start + at });
  }
  return { protocol: six ? ETH_P_IPV6 : ETH_P_IP, keys: keys.length > 0 ? keys : everything };
}

const root = (link: number): Place => ({ link, parent: TC_H_ROOT });

/** None, or another's; or the link went meanwhile. */
const goneAlready = ["ENOENT", "EINVAL", "ENODEV"];

const endSending = (link: number): Message => ({
  ...deleteQdisc({ ...root(link), handle: own }),
  accept: goneAlready,
});

const endReceiving = (link: number): Message[] =>
  mapped([ETH_P_IP, ETH_P_IPV6, ETH_P_ALL], (protocol) => ({
    ...deleteFilters({ link, parent: TC_H_MIN_INGRESS, priority: priorities[protocol]!, protocol }),
    accept: goneAlready,
  }));

/** The links of these names, asked for in one send; undefined where there is none. */
export function findLinks(ns: Namespace, names: readonly string[]): (Link | undefined)[] {
  const replies = ns.route.try(...mapped(names, (name) => getLink({ name })));
  return mapped(replies, ({ error, answers: [answer] }) => {
    if (error && !isErrno(error, "ENODEV")) throw error;
    return answer && readLink(answer);
  });
}

/** Limits what a link sends. A limit that was set here before is replaced; 102 if the root is somebody else's. */
export function shapeSending(ns: Namespace, { index, name }: Link, limit: Limit, subnets?: Subnets): void {
  try {
    ns.route.request(
      endSending(index),
      ...(subnets ? classes(index, limit, subnets) : [createQdisc(tokenBucket(index, limit))]),
    );
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
    const message = `Cannot shape link "${name}": it has a queueing discipline of somebody else`;
    throw new CniError(codes.alreadyExists, message, { cause: error });
  }
}

/** Makes the ifb link that shapeReceiving needs, up. The name must be free: EEXIST, and its bearer labelled, if it is not. */
export function createDevice(ns: Namespace, { name, alias, mtu }: { name: string; alias: string; mtu?: number }): Link {
  // The queue between the two halves of an ifb has 32 places by default, and is stopped when it is full.
  const spec = { name, mtu, up: true, txQueueLength: 1000, txQueues: 1, rxQueues: 1, info: { kind: "ifb" } };
  // In one send: whoever is killed after the first of two leaves a link that says nobody's name, which no GC removes.
  const [made, labelled] = ns.route.try(createLink(spec), setLink({ name, alias }));
  if (made!.error) throw made!.error;
  // Before Linux 6.2 nothing is echoed.
  const device = made!.answers[0] ? readLink(made!.answers[0]) : findLink(ns, name);
  if (!device) throw new Error(`Cannot find link "${name}": it vanished as soon as it was made`);
  if (labelled!.error) {
    removeLink(ns, { index: device.index });
    throw labelled!.error;
  }
  return device;
}

/** Limits what comes in by a link, by way of an ifb link of its own. */
export function shapeReceiving(ns: Namespace, link: Link, device: Link, limit: Limit, subnets?: Subnets): void {
  ns.route.request(
    createQdisc(tokenBucket(device.index, limit)),
    { ...createClsact(link.index), accept: ["EEXIST"] },
    ...endReceiving(link.index),
    ...mapped(receivingFilters(link.index, device.index, subnets), createFilter),
  );
}

/** Takes both limits off a link. Hooks stay, as others may have come to use them; so does the ifb link. */
export function unshapeLink(ns: Namespace, link: number): void {
  ns.route.request(...endReceiving(link), endSending(link));
}

/** Throws, with code 101, unless the link is shaped so. `device` is the ifb link, where there is one. */
export function assertShaped(ns: Namespace, link: Link, shaping: Shaping, device?: Link): void {
  const { sending, receiving, subnets } = shaping;
  if (sending) {
    if (subnets) assertClasses(ns, link, sending, subnets);
    else assertTokenBucket(ns, link, sending);
  }
  if (!receiving) return;
  if (!device) throw differs(`link "${link.name}": the ifb link for what comes in is missing`);
  assertTokenBucket(ns, device, receiving);
  const have = listFilters(ns, { link: link.index, parent: TC_H_MIN_INGRESS });
  assertFilters(
    link,
    receivingFilters(link.index, device.index, subnets),
    have,
    (options) => options?.actions?.find(({ redirect }) => redirect !== undefined)?.redirect,
  );
}

const differs = (what: string) => new CniError(codes.checkFailed, `Cannot use ${what}`);

function rootOf(ns: Namespace, link: Link, kind: string): Qdisc {
  const [reply] = ns.route.try(getQdisc(root(link.index)));
  if (reply!.error && !isErrno(reply!.error, "ENOENT")) throw reply!.error;
  const found = reply!.answers[0] && readQdisc(reply!.answers[0]);
  if (found?.kind !== kind) throw differs(`link "${link.name}": its queueing discipline is no ${kind}`);
  return found;
}

function assertTokenBucket(ns: Namespace, link: Link, limit: Limit): void {
  const { parms, rate64 } = rootOf(ns, link, "tbf").options as any;
  assertRate(link, limit, Number(rate64 ?? parms.rate.rate), parms.buffer);
  if (parms.limit !== queueLimit(limit)) throw differs(`link "${link.name}": ${parms.limit} bytes may wait`);
}

function assertClasses(ns: Namespace, link: Link, limit: Limit, subnets: Subnets): void {
  const { init } = rootOf(ns, link, "htb").options as any;
  const found = ns.route.dump(dumpClasses(link.index)).map(readClass);
  const shaped = found.find((one) => one.handle === shapedClass)?.options as any;
  if (init.defaultClass !== defaultClass(subnets) || !shaped) {
    throw differs(`link "${link.name}": its classes are not those of the subnets`);
  }
  assertRate(link, limit, Number(shaped.rate64 ?? shaped.parms.rate.rate), shaped.parms.buffer);
  const have = listFilters(ns, { link: link.index, parent: own });
  assertFilters(link, sendingFilters(link.index, subnets), have, (options) => options?.class);
}

function assertRate(link: Link, { rate, burst }: Limit, have: number, buffer: number): void {
  if (have !== rate) throw differs(`link "${link.name}": its rate is ${have} bytes a second, not ${rate}`);
  // The kernel tells the lower 32 bits, of a number that it may have rounded on its own.
  const ticks = ticksOf(burst, rate);
  const apart = Math.abs((ticks % (U32_MAX + 1)) - buffer);
  if (Math.min(apart, U32_MAX + 1 - apart, Math.abs(Math.min(ticks, U32_MAX) - buffer)) > 64 + ticks / 1e6) {
    throw differs(`link "${link.name}": its burst is not ${burst} bytes`);
  }
}

function listFilters(ns: Namespace, place: Place): Filter[] {
  return ns.route.dump({ ...dumpFilters(place), accept: ["EINVAL", "ENOENT"] }).map(readFilter);
}

/** Each wanted filter must be there, wherever in order: same packets, same end. */
function assertFilters(
  link: Link,
  wanted: readonly Filter[],
  have: readonly Filter[],
  end: (options: Filter["options"]) => number | undefined,
): void {
  for (const one of wanted) {
    const keys = JSON.stringify(one.options!.keys);
    const same = (other: Filter) =>
      other.protocol === one.protocol &&
      JSON.stringify(other.options?.keys) === keys &&
      end(other.options) === end(one.options);
    if (!have.some(same))
      throw differs(`link "${link.name}": a filter that leads to its limit, or past it, is missing`);
  }
}

/** Which of these the kernel lacks, found by asking for something that it must refuse for another reason. */
export function missingKinds(ns: Namespace, kinds: readonly ("tbf" | "htb" | "ifb")[]): string[] {
  const loopback = findLink(ns, "lo");
  if (!loopback) return [];
  const probes = kinds.map(
    (kind) =>
      kind === "ifb"
        ? createLink({ name: "tenon-probe", mac: "00:00:00:00:00:00", info: { kind } }) // no address of a link
        : createQdisc({ ...root(loopback.index), handle: own, kind }), // without settings
  );
  return ns.route
    .try(...probes)
    .flatMap(({ error }, at) => (isErrno(error, "ENOENT", "EOPNOTSUPP") ? [kinds[at]!] : []));
}
