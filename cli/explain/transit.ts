// How a packet gets through the node: published ports, forwarding, routes, firewall, masquerade, bridges.
import { findLink, isUp, type Link, listLinks } from "../../lib/ip/link.ts";
import { readSysctl } from "../../lib/ip/sysctl.ts";
import type { Route } from "../../lib/netlink/rtnl/route.ts";
import { host, type Namespace } from "../../lib/netns/netns.ts";
import { arrive, listening } from "./arrive.ts";
import { foreignVerdict, keptApart, masqueradeOf, publishedAt } from "./filters.ts";
import { forwardingOf, kinds, neighbourOf, routeOf, stateOf, wrongSource } from "./lookup.ts";
import { findPeer } from "./peers.ts";
import type { Stop } from "./trail.ts";
import { tunnelled } from "./tunnel.ts";
import {
  addressOn,
  describe,
  type Ends,
  hostEnd,
  linkWith,
  nameOf,
  node,
  refusals,
  routeText,
  type Way,
  wordOf,
  wrongWith,
} from "./way.ts";

/** From the link that the packet comes in by, none for the node's own packets, to the link that it leaves by. */
export function throughNode(way: Way, input: Link | undefined): void {
  const { trail, from, to } = way;
  publish(way, input);
  // On one bridge a neighbour is spoken to directly.
  if (input?.info?.kind === "bridge" && isOnLink(from.ns!, way.target) && way.to.kind === "pod") {
    const outer = hostEnd(way.to, way.target);
    if (outer?.outer.master === input.index) {
      bridged(way, input, outer);
      return;
    }
  }
  const route = routed(way, input);
  const link = findLink(host, route.link ?? 0);
  if (route.kind === kinds.local) {
    trail.ok(node, "route", `${way.target} is the node's own address: it is delivered here`);
    listening(way, host, node);
    return;
  }
  if (!link) throw trail.stop(node, "route", `to ${way.target} no link leads`);
  if (way.to.kind === "elsewhere") beyond(way, route, link);
  if (input) filtered(way, input, link);
  const masked = masqueradeOf(host, way.source, way.target);
  const mask = route.source ?? addressOn(host, link.index, way.family) ?? "the node's address";
  if (masked.hidden && way.to.kind === "pod")
    trail.note(node, "masquerade", `${masked.why}: seen there as ${mask}, not by its own address`);
  else if (masked.hidden) trail.ok(node, "masquerade", `${masked.why}: seen from there it is ${mask}`);
  else if (input && way.to.kind === "elsewhere" && !isTunnel(link))
    trail.note(node, "masquerade", `none: ${masked.why}, so answers need a way back to ${way.source}`);
  else if (input) trail.ok(node, "masquerade", `none: ${masked.why}`);
  const wrong = wrongWith(link);
  if (wrong) throw trail.stop(node, wordOf(link), wrong);
  if (way.mtu !== undefined && link.mtu !== undefined && way.mtu > link.mtu) {
    const what = `${nameOf(link)} takes ${link.mtu} bytes, the pod sends ${way.mtu}`;
    trail.note(node, "MTU", `${what}: large packets are cut up, or refused`);
  }
  if (isTunnel(link)) {
    tunnelled(way, route, link);
    return;
  }
  const hop = route.gateway ?? way.target;
  const outer = way.to.kind === "pod" ? hostEnd(way.to, way.target) : undefined;
  if (outer && link.info?.kind !== "bridge" && outer.outer.index !== link.index) throw astray(way, link, outer.outer);
  const known = neighbourOf(host, link.index, hop);
  if (known && stateOf(known) === "failed")
    throw trail.stop(node, "neighbour", `${hop} on ${nameOf(link)} did not answer when last asked`);
  if (outer && hop === way.target && known?.mac && outer.inner.mac && known.mac !== outer.inner.mac)
    throw trail.stop(
      node,
      "neighbour",
      `${hop} is ${known.mac} (${stateOf(known)}) here, but the pod has ${outer.inner.mac}`,
    );
  trail.ok(
    node,
    "neighbour",
    known?.mac
      ? `${hop} is ${known.mac} (${stateOf(known)})`
      : `${hop} is asked for when first needed, on ${nameOf(link)}`,
  );
  if (to.kind !== "pod" && way.to.kind !== "pod") {
    trail.ok(node, "link", `${describe(link)}: from here on it is on its own way`);
    return;
  }
  if (!outer) throw trail.stop(way.to.name, "link", "it has no interface with an end on this node");
  if (link.info?.kind === "bridge") outPort(way, link, outer, undefined);
  arrive(way, outer, masked.hidden ? mask : way.source);
}

/** The route leads past the pod: because its link or bridge is down, as a rule, which takes the route away. */
function astray({ trail }: Way, link: Link, end: Link): Stop {
  const bridge = end.master === undefined ? undefined : findLink(host, end.master);
  for (const one of [end, bridge])
    if (one && !isUp(one)) return trail.stop(node, wordOf(one), `${nameOf(one)} is down`);
  const leads = bridge ? nameOf(bridge) : nameOf(end);
  return trail.stop(node, "route", `it leads to ${nameOf(link)}, but the pod is behind ${leads}`);
}

const isTunnel = ({ info }: Link) => info?.kind === "vxlan";

/** Whose pod it is, of the nodes that are known, and whether the route leads to that node. */
function beyond({ trail, target }: Way, { gateway }: Route, link: Link): void {
  const found = findPeer(target);
  if (!found) return;
  const { network, node: peer } = found;
  const whose = `${target} is of node ${peer.name} in network ${network}`;
  const leads = isTunnel(link) || (gateway !== undefined && peer.addresses.includes(gateway));
  if (leads) trail.ok(node, "peer", whose);
  else
    throw trail.stop(
      node,
      "peer",
      `${whose}, but the route to it leads by ${gateway ?? nameOf(link)}: see tenon status`,
    );
}

/** Whether the pod speaks to the address directly, not by a gateway. */
function isOnLink(ns: Namespace, target: string): boolean {
  const route = routeOf(ns, { to: target });
  return !("refused" in route) && route.gateway === undefined;
}

/** Where a port of the node leads: the packet has another target from there on. */
function publish(way: Way, input: Link | undefined): void {
  const { port, protocol, trail } = way;
  if (port === undefined || way.to.kind !== "node") return;
  const found = publishedAt(host, protocol, way.target, port);
  if (!found) return;
  trail.ok(
    node,
    "published port",
    `${protocol} ${way.target}:${port} leads to ${found.ip}:${found.port}${found.label ? `, attachment ${found.label}` : ""}`,
  );
  way.to = way.find(found.ip);
  way.target = found.ip;
  way.port = found.port;
  if (way.to.kind === "elsewhere") trail.note(node, "published port", `no pod of this node has ${found.ip}`);
  if (input && way.source === way.target)
    trail.note(node, "published port", "the pod asks itself by the node's port: it needs snat of plugin portmap");
}

function routed(way: Way, input: Link | undefined): Route {
  const { trail, family, target } = way;
  if (!input) {
    const route = routeOf(host, { to: target });
    if ("refused" in route)
      throw trail.stop(node, "route", `${refusals[route.refused] ?? route.refused}: to ${target}`);
    way.source = route.source ?? addressOn(host, route.link ?? 0, family) ?? "";
    trail.ok(node, "route", routeText(route, findLink(host, route.link ?? 0), target));
    return route;
  }
  const name = nameOf(input);
  const isOwn = linkWith(host, target) !== undefined;
  const settings =
    family === 4 ? [`ipv4/conf/${name}/forwarding`] : ["ipv6/conf/all/forwarding", `ipv6/conf/${name}/forwarding`];
  const off = settings.find((setting) => readSysctl(host, setting) === "0");
  if (off && !isOwn)
    throw trail.stop(
      node,
      "forwarding",
      `net/${off} is 0: the node forwards no IPv${family} packets that come in by ${name}`,
    );
  const route = routeOf(host, { to: target, from: way.source, input: input.index });
  if ("refused" in route) {
    const back = wrongSource(host, { to: target, from: way.source, input: input.index }, name);
    if (back !== undefined) {
      const link = findLink(host, back);
      const what = `${way.source} comes in by ${name}, but the way back to it leads to ${link ? nameOf(link) : "nowhere"}`;
      throw trail.stop(node, "rp_filter", `${what}: net.ipv4.conf.*.rp_filter drops it`);
    }
    const plain = routeOf(host, { to: target });
    if (!("refused" in plain))
      throw trail.stop(node, "route", `the kernel refuses a packet from ${way.source} that comes in by ${name}`);
    throw trail.stop(node, "route", `${refusals[route.refused] ?? route.refused}: from ${way.source} to ${target}`);
  }
  if (route.kind === kinds.blackhole || route.kind === kinds.unreachable || route.kind === kinds.prohibit)
    throw trail.stop(node, "route", `a route to ${route.destination} drops it: no pod of this node has ${target}`);
  if (route.kind !== kinds.local) trail.ok(node, "route", routeText(route, findLink(host, route.link ?? 0), target));
  return route;
}

/** What is dropped between two links of the node. */
function filtered({ trail, source, target }: Way, input: Link, output: Link): void {
  const apart = keptApart(host, nameOf(input), nameOf(output));
  if (apart) throw trail.stop(node, "firewall", apart);
  const { drops, doubts } = foreignVerdict(host, source, target);
  if (drops) throw trail.stop(node, "firewall", drops);
  for (const doubt of doubts) trail.note(node, "firewall", doubt);
  if (doubts.length === 0) trail.ok(node, "firewall", `nothing keeps ${nameOf(input)} from ${nameOf(output)}`);
}

/** From a port of a bridge to another one of the same. */
function bridged(way: Way, bridge: Link, ends: Ends): void {
  const { trail } = way;
  const own = hostEnd(way.from, way.source);
  trail.ok(node, "bridge", `${nameOf(bridge)} passes it from port to port`);
  for (const family of ["ip", "ip6"] as const) {
    if (family !== (way.family === 4 ? "ip" : "ip6")) continue;
    const setting = `bridge/bridge-nf-call-${family}tables`;
    if (readSysctl(host, setting) === "1") filtered(way, bridge, bridge);
  }
  outPort(way, bridge, ends, own?.outer);
  arrive(way, ends, way.source);
}

/** The port that a bridge sends the frame out of. */
function outPort({ trail }: Way, bridge: Link, { inner, outer }: Ends, from: Link | undefined): void {
  if (outer.master !== bridge.index)
    throw trail.stop(node, "bridge port", `${nameOf(outer)}, which leads to the pod, is no port of ${nameOf(bridge)}`);
  const wrong = wrongWith(outer);
  if (wrong) throw trail.stop(node, "bridge port", wrong);
  const state = outer.info?.port?.state;
  if (state !== undefined && state !== 3)
    throw trail.stop(node, "bridge port", `${nameOf(outer)} does not forward: it is in state ${state}`);
  if (from?.info?.port?.isolated && outer.info?.port?.isolated)
    throw trail.stop(node, "bridge port", `${nameOf(from)} and ${nameOf(outer)} are both isolated (portIsolation)`);
  const ports = listLinks(host, { master: bridge.index });
  const entries = forwardingOf(
    host,
    inner.mac ?? "",
    ports.map(({ index }) => index),
  );
  const elsewhere = entries.find(({ index }) => index !== outer.index);
  if (elsewhere && !entries.some(({ index }) => index === outer.index)) {
    const name = ports.find(({ index }) => index === elsewhere.index)?.name;
    throw trail.stop(
      node,
      "forwarding table",
      `${bridge.name} sends frames for ${inner.mac} to ${name}, not to ${nameOf(outer)}`,
    );
  }
  trail.ok(
    node,
    "forwarding table",
    entries.length > 0
      ? `${inner.mac} is behind ${nameOf(outer)}`
      : `${inner.mac} is not learnt yet: sent to every port`,
  );
}
