// What packets will meet: masquerade beside routes to other nodes, two ways there, MTUs, bridges that two networks share.
import { parseIp } from "../../lib/netlink/inet.ts";
import { type Document, type Entry, isObject, textOf, valueAt } from "./document.ts";
import { join, type Report } from "./finding.ts";

/** Plugins that lead to pods on other nodes. */
const across = ["vxlan", "routes"];
/** What VXLAN puts before a pod's frame on an IPv4 and an IPv6 underlay, and IPv6's least MTU. */
const overhead = { 4: 50, 6: 70 };
const leastOf6 = 1280;
const ethernet = 1500;

export function checkPath({ entries }: Document, report: Report): void {
  const leading = entries.find(({ type }) => across.includes(type));
  for (const { type, path } of entries) {
    if (!leading || path === leading.path || !across.includes(type)) continue;
    const message = `${leading.path} leads to other nodes already: each takes away what the other one has put into the kernel`;
    const hint = 'one alone: "routes" with "offSubnet": "overlay", or "vxlan" with "directRouting": true, is both';
    report("error", "paths", join(path, "type"), message, hint);
  }
  for (const entry of entries) {
    const { conf, path } = entry;
    const exempt = valueAt(conf, "masqExempt");
    const cluster = leading && valueAt(leading.conf, "clusterCidrs");
    if (leading && valueAt(conf, "ipMasq") === true && ![exempt, cluster].some(hasSome)) {
      const hint = '"masqExempt" here, or "clusterCidrs" there: the networks of all pods, as ["10.244.0.0/16"]';
      const message = `Pods of nodes that ${leading.path} does not know yet see this node's address, not the pod's`;
      report("warning", "masquerade", join(path, "ipMasq"), message, hint);
    }
    if (hasSome(exempt) && valueAt(conf, "ipMasq") !== true)
      report("note", "masquerade", join(path, "masqExempt"), "It has no effect without ipMasq");
    checkMtu(entry, entries, report);
  }
}

const hasSome = (list: unknown) => Array.isArray(list) && list.length > 0;

function checkMtu({ type, conf, path, ipam }: Entry, entries: readonly Entry[], report: Report): void {
  const mtu = valueAt(conf, "mtu");
  if (typeof mtu !== "number" || mtu === 0 || across.includes(type)) return;
  const place = join(path, "mtu");
  if (mtu < leastOf6 && ipam && hasIpv6(conf))
    report("error", "mtu", place, `IPv6 needs ${leastOf6} at least: the kernel would take the addresses away`);
  const tunnel = entries.find((entry) => entry.type === "vxlan");
  if (tunnel && mtu > ethernet - overhead[4]) {
    const message = `${mtu} bytes and VXLAN's ${overhead[4]} (${overhead[6]} over IPv6) pass only where links between nodes carry ${mtu + overhead[4]}`;
    // Beyond Ethernet's own somebody has large frames, and knows it.
    report(
      mtu > ethernet ? "note" : "warning",
      "mtu",
      place,
      message,
      `leave it out: ${tunnel.path} sets what the underlay carries`,
    );
  }
  const main = entries[0];
  const first = main && valueAt(main.conf, "mtu");
  if (type === "tuning" && typeof first === "number" && first > 0 && mtu > first)
    report(
      "error",
      "mtu",
      place,
      `${main!.path} makes a link of ${first} bytes: longer frames are lost on its other end`,
    );
}

function hasIpv6(conf: Entry["conf"]): boolean {
  return JSON.stringify(valueAt(conf, "ipam") ?? {})
    .split('"')
    .some((text) => text.includes(":") && parseIp(text.split("/")[0]!)?.length === 16);
}

/** Bridges that several networks share. */
export function compareBridges(documents: readonly Document[], reportOf: (file: string) => Report): void {
  const seen: { name: string; document: Document; entry: Entry; gateway?: string }[] = [];
  for (const document of documents) {
    for (const entry of document.entries) {
      if (entry.type !== "bridge") continue;
      const name = textOf(valueAt(entry.conf, "bridge")) || "cni0";
      const gateway = gatewayOf(entry);
      const other = seen.find((one) => one.name === name && one.gateway && gateway && one.gateway !== gateway);
      if (
        other &&
        valueAt(entry.conf, "vlan") === valueAt(other.entry.conf, "vlan") &&
        valueAt(entry.conf, "forceAddress") !== true
      ) {
        const message = `Bridge ${name} gets a gateway from ${other.document.file} too: the second network's ADD finds another address there and fails`;
        reportOf(document.file)("error", "bridge", join(entry.path, "bridge"), message, "a bridge of its own");
      }
      seen.push({ name, document, entry, gateway });
    }
  }
}

/** Tunnels that two networks would both make: a VNI and port are one network's. */
export function compareTunnels(documents: readonly Document[], reportOf: (file: string) => Report): void {
  const seen: { id: string; document: Document; path: string }[] = [];
  for (const document of documents) {
    for (const { type, conf, path } of document.entries) {
      if (type !== "vxlan" && !(type === "routes" && valueAt(conf, "offSubnet") === "overlay")) continue;
      const id = `VNI ${valueAt(conf, "vni") ?? 1}, port ${valueAt(conf, "port") ?? 4789}`;
      const other = seen.find((one) => one.id === id && one.document.name !== document.name);
      const message = `${id} are those of ${other?.path} in ${other?.document.file}: only one of the networks gets its tunnel`;
      if (other) reportOf(document.file)("error", "tunnel", join(path, "vni"), message, "a VNI for each network");
      seen.push({ id, document, path });
    }
  }
}

/** The IPv4 network that the bridge is the gateway of; undefined if it is none. */
function gatewayOf({ conf }: Entry): string | undefined {
  if (valueAt(conf, "isGateway") !== true && valueAt(conf, "isDefaultGateway") !== true) return undefined;
  const ranges = valueAt(conf, "ipam", "ranges");
  const inner = Array.isArray(ranges) ? ranges.flat() : [];
  const subnets = [
    valueAt(conf, "ipam", "subnet"),
    ...inner.map((one) => (isObject(one) ? valueAt(one, "subnet") : "")),
  ];
  return subnets.map(textOf).find((text) => text !== "" && !text.includes(":"));
}
