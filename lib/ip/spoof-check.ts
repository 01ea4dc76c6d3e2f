// Spoof check: a bridge port that is guarded takes only frames from its pod's own MAC address. One rule for all ports, in
// the chain `prerouting` of table bridge tenon (lib/nftables/layout.ts):
//
//   iifname @spoof/ports  iifname . ether saddr != @spoof/macs  counter drop
//
// A port is one element in each set, found by hash whatever their number; the comment is the label of the attachment.
import { CniError, codes } from "../cni/errors.ts";
import { isOfNetwork } from "../cni/identity.ts";
import type { Part } from "../cni/request.ts";
import { equalBytes, parseMac } from "../netlink/inet.ts";
import type { Connection, Message } from "../netlink/socket.ts";
import type { Namespace } from "../netns/netns.ts";
import {
  type Contents,
  deleteAll,
  deleteWhere,
  elementOf,
  ensureElements,
  listElements,
  listSets,
  type Place,
  placesOf,
  removeOwn,
} from "../nftables/attachment.ts";
import { addChain, dumpChains, readChain } from "../nftables/chain.ts";
import { getElement } from "../nftables/element.ts";
import { sameExpressions } from "../nftables/expression.ts";
import { bridge, bridgePrerouting } from "../nftables/layout.ts";
import { count, drop, etherSaddr, iifname, inSet, notInSet, say } from "../nftables/phrase.ts";
import { listRules, placeRule, type Rule } from "../nftables/rule.ts";
import { addSet, type SetSpec } from "../nftables/set.ts";
import { addTable, deleteTable } from "../nftables/table.ts";

/** A guarded port of a bridge and the only source address that frames may come from by it. */
export interface SpoofCheck {
  /** The attachment, by labelOf. */
  label: string;
  /** Name of the host's link. */
  port: string;
  mac: string;
}

const ports: SetSpec = { table: bridge, name: "spoof/ports", key: ["ifname"] };
const macs: SetSpec = { table: bridge, name: "spoof/macs", key: ["ifname", "ether_addr"] };

function wantedRule(): Rule {
  const expressions = say(inSet(iifname, ports), notInSet([iifname, etherSaddr], macs), count, drop);
  return { chain: bridgePrerouting, expressions, comment: "spoof-check" };
}

/** The port's name as the kernel compares it: 16 bytes, NUL to the end. */
function portKey(port: string): Uint8Array {
  const key = new Uint8Array(16);
  const name = new TextEncoder().encode(port);
  if (name.length === 0 || name.length > 15) throw new RangeError(`Cannot guard port "${port}": must be 1 to 15 bytes`);
  key.set(name);
  return key;
}

/** Port and address side by side, each filling whole registers. */
function macKey(port: string, mac: string): Uint8Array {
  const address = parseMac(mac);
  if (!address) throw new TypeError(`Cannot guard port "${port}" with MAC "${mac}": not six bytes in hexadecimal`);
  const key = new Uint8Array(24);
  key.set(portKey(port));
  key.set(address, 16);
  return key;
}

/**
 * Guards a port. Guarded already is fine; another address that the port had is no longer allowed. With `whole`, the rule
 * is looked at too, which otherwise is there where the sets are.
 */
export function ensureSpoofCheck(ns: Namespace, { label, port, mac }: SpoofCheck, whole?: boolean): void {
  const required = [ports, macs];
  ensureElements(ns.netfilter, label, placesAt(port, mac), required, () => prepare(ns.netfilter, port, mac), whole);
}

/** The spoof check of an attachment as a part of it. */
export function spoofCheckPart(ns: Namespace, check: SpoofCheck): Part {
  return {
    kind: "spoof check",
    name: check.label,
    check: () => checkSpoofCheck(ns, check),
    ensure: (whole) => ensureSpoofCheck(ns, check, whole),
  };
}

function placesAt(port: string, mac: string): Place[] {
  return [
    { set: ports, key: portKey(port) },
    { set: macs, key: macKey(port, mac) },
  ];
}

/** The table with everything static, and no other address for this port. */
function prepare(connection: Connection, port: string, mac: string): Message[] {
  const others = listElements(connection, macs).filter(
    ({ key }) => equalBytes(key.subarray(0, 16), portKey(port)) && !equalBytes(key, macKey(port, mac)),
  );
  return [
    addTable(bridge),
    addChain(bridgePrerouting),
    addSet(ports),
    addSet(macs),
    ...placeRule(wantedRule(), listRules(connection, bridgePrerouting)),
    ...deleteAll(macs, others),
  ];
}

/**
 * Ends the guard of an attachment's port; with neither port nor MAC, of whatever bears its label. The MAC saves looking
 * through those of all ports. What belongs to another attachment by now stays. Makes nothing.
 */
export function removeSpoofCheck(
  ns: Namespace,
  { label, port, mac }: Pick<SpoofCheck, "label"> & Partial<SpoofCheck>,
): void {
  const connection = ns.netfilter;
  if (port !== undefined && mac !== undefined) removeOwn(connection, label, placesAt(port, mac));
  // Both elements come and go in one transaction: where the first is not, nothing has to be looked for.
  else if (port === undefined || elementOf(connection.try(getElement(ports, portKey(port)))[0]!)?.comment === label)
    removeOwn(connection, label, placesOf(contents(connection), label));
}

function contents(connection: Connection): Contents[] {
  return [ports, macs].map((set) => ({ set, elements: listElements(connection, set) }));
}

/** Throws, with code 101, unless the port is guarded as ensureSpoofCheck would do it. */
export function checkSpoofCheck(ns: Namespace, { label, port, mac }: SpoofCheck): void {
  const connection = ns.netfilter;
  const missing = (what: string) =>
    new CniError(codes.checkFailed, `Cannot find ${what} in nftables table bridge tenon`);
  const [guarded, allowed] = connection
    .try(getElement(ports, portKey(port)), getElement(macs, macKey(port, mac)))
    .map(elementOf);
  if (guarded?.comment !== label) throw missing(`guarded port "${port}"`);
  if (allowed?.comment !== label) throw missing(`MAC ${mac} of port "${port}"`);
  const rules = listRules(connection, bridgePrerouting);
  if (!rules.some(({ expressions }) => sameExpressions(wantedRule().expressions, expressions)))
    throw missing("the spoof check rule");
}

/** GC: ends the guard of every attachment to this network that is not to be kept; with the last port goes the table. */
export function sweepSpoofCheck(
  ns: Namespace,
  { network, keep }: { network: string; keep: ReadonlySet<string> },
): void {
  const connection = ns.netfilter;
  deleteWhere(
    connection,
    () => contents(connection),
    (comment) => isOfNetwork(comment, network) && !keep.has(comment),
    (empty) => (empty.length === 2 ? clear(connection) : []),
  );
}

/** The table goes, if nothing else is in it. */
function clear(connection: Connection): Message[] {
  const sets = listSets(connection, bridge);
  if (sets.length === 0) return [];
  const chains = connection
    .dump(dumpChains(bridge))
    .map(readChain)
    .filter(({ table }) => table.name === bridge.name);
  const rules = listRules(connection, bridgePrerouting);
  const strangers =
    sets.some(({ name }) => name !== ports.name && name !== macs.name) ||
    chains.some(({ name }) => name !== bridgePrerouting.name) ||
    rules.some(({ comment }) => comment !== wantedRule().comment);
  return strangers ? [] : [deleteTable(bridge)];
}
