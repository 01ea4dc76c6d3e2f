// Bridges kept apart: the plugin firewall's ingressPolicy, in the sets of forward-filter.ts. A packet from a guarded bridge
// does not get to another guarded bridge, whatever its connection; with "isolated" not back into the same one either, so far
// as the host's filter sees frames between ports at all (bridge-nf-call-iptables). Replies from outside come by other links.
//
// A guard belongs to a network and a bridge: an element "bridge . network" whose comment is the policy. Of two networks on one
// bridge the stricter policy wins. It stays when pods go, as the reference's; GC ends it with the network's last pod.
import { hexName } from "../cni/identity.ts";
import type { Connection, Message } from "../netlink/socket.ts";
import type { Namespace } from "../netns/netns.ts";
import { elementOf, listElements } from "../nftables/attachment.ts";
import { createElements, deleteElements, type Element, getElement } from "../nftables/element.ts";
import { change } from "../nftables/transaction.ts";
import { bridges, guards, loops, notFound, prepareFilter } from "./forward-filter.ts";

export interface BridgeGuard {
  network: string;
  /** Name of the host's link. */
  bridge: string;
  policy: "same-bridge" | "isolated";
}

const size = 16; // IFNAMSIZ

/** Names side by side, as the kernel compares them: 16 bytes each, NUL to the end. */
function nameKey(...names: string[]): Uint8Array {
  const key = new Uint8Array(size * names.length);
  names.forEach((name, at) => {
    const bytes = new TextEncoder().encode(name);
    if (bytes.length === 0 || bytes.length >= size)
      throw new RangeError(`Cannot guard bridge "${name}": must be 1 to 15 bytes`);
    key.set(bytes, at * size);
  });
  return key;
}

/** Network names are longer than a link's can be: such a one is a hash. */
function networkName(network: string): string {
  return network.length < size ? network : hexName("~", network, size - 1);
}

function partOf({ key }: Element, at: 0 | 1): string {
  return new TextDecoder().decode(key.subarray(at * size, (at + 1) * size)).replace(/\0.*$/s, "");
}

/** What is there of a guard, in one look. */
function look(connection: Connection, { network, bridge }: BridgeGuard) {
  const looks = [
    getElement(guards, nameKey(bridge, networkName(network))),
    getElement(bridges, nameKey(bridge)),
    getElement(loops, nameKey(bridge, bridge)),
  ];
  const [guard, apart, loop] = connection.try(...looks).map(elementOf);
  return { policy: guard?.comment, apart: apart !== undefined, loop: loop !== undefined };
}

/** Whether everything is there for the guard. Another network on the bridge may want it stricter. */
function isGuarded(connection: Connection, guard: BridgeGuard): boolean {
  const { policy, apart, loop } = look(connection, guard);
  if (policy !== guard.policy || !apart) return false;
  if (guard.policy === "isolated") return !loop;
  const isStrict = (one: Element) => partOf(one, 0) === guard.bridge && one.comment === "isolated";
  return loop || listElements(connection, guards).some(isStrict);
}

/** Guards a network's bridge. Done already is fine; another policy that the network had for it no longer holds. */
export function ensureGuard(ns: Namespace, guard: BridgeGuard): void {
  const connection = ns.netfilter;
  if (isGuarded(connection, guard)) return;
  change(connection, () => {
    const key = nameKey(guard.bridge, networkName(guard.network));
    const all = listElements(connection, guards);
    const others = all.filter(
      (one) => partOf(one, 0) !== guard.bridge || partOf(one, 1) !== networkName(guard.network),
    );
    const own = { key, comment: guard.policy };
    return [
      ...prepareFilter(connection),
      ...(others.length < all.length ? [deleteElements(guards, [{ key }])] : []),
      createElements(guards, [own]),
      ...arrange(connection, [...others, own]),
    ];
  });
}

/** The changes that make the bridges kept apart, and their loops, what these guards ask for. */
function arrange(connection: Connection, wanted: readonly Element[]): Message[] {
  const names = [...new Set(wanted.map((one) => partOf(one, 0)))];
  const isOpen = (name: string) => wanted.every((one) => partOf(one, 0) !== name || one.comment !== "isolated");
  return [
    ...replace(
      bridges,
      listElements(connection, bridges),
      names.map((name) => nameKey(name)),
    ),
    ...replace(
      loops,
      listElements(connection, loops),
      names.filter(isOpen).map((name) => nameKey(name, name)),
    ),
  ];
}

function replace(set: typeof bridges, there: readonly Element[], keys: readonly Uint8Array[]): Message[] {
  const text = (key: Uint8Array) => new TextDecoder().decode(key);
  const [old, now] = [there.map(({ key }) => text(key)), keys.map(text)];
  const gone = there.filter((_, at) => !now.includes(old[at]!));
  const added = keys.filter((_, at) => !old.includes(now[at]!));
  return [
    ...(gone.length ? [deleteElements(set, gone)] : []),
    ...(added.length
      ? [
          createElements(
            set,
            added.map((key) => ({ key })),
          ),
        ]
      : []),
  ];
}

/** Throws, with code 101, unless the bridge is guarded as ensureGuard would do it. */
export function checkGuard(ns: Namespace, guard: BridgeGuard): void {
  if (!isGuarded(ns.netfilter, guard)) throw notFound(`policy "${guard.policy}" of bridge "${guard.bridge}"`);
}

/** GC: ends a network's guards. */
export function sweepGuards(ns: Namespace, network: string): void {
  const connection = ns.netfilter;
  change(connection, () => {
    const all = listElements(connection, guards);
    const gone = all.filter((one) => partOf(one, 1) === networkName(network));
    if (gone.length === 0) return [];
    const kept = all.filter((one) => !gone.includes(one));
    return [deleteElements(guards, gone), ...arrange(connection, kept)];
  });
}
