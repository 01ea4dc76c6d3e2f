// How a packet gets into a VXLAN tunnel, and what carries that.
import { findLink, type Link } from "../../lib/ip/link.ts";
import type { Route } from "../../lib/netlink/rtnl/route.ts";
import { host } from "../../lib/netns/netns.ts";
import { forwardingOf, kinds, neighbourOf, routeOf, stateOf } from "./lookup.ts";
import { familyOf, nameOf, node, refusals, type Way, wrongWith } from "./way.ts";

/** Through a tunnel to another node. */
export function tunnelled(way: Way, route: Route, device: Link): void {
  const { trail } = way;
  const hop = route.gateway ?? way.target;
  const data = (device.info?.data ?? {}) as {
    id?: number;
    port?: number;
    local?: string;
    local6?: string;
    link?: number;
  };
  const known = neighbourOf(host, device.index, hop);
  if (!known?.mac)
    throw trail.stop(node, "neighbour", `${hop} is not known on ${nameOf(device)}, where nobody can be asked`);
  trail.ok(node, "neighbour", `${hop} is ${known.mac} (${stateOf(known)})`);
  const [entry] = forwardingOf(host, known.mac, [device.index]).filter(({ ip }) => ip !== undefined);
  if (!entry?.ip)
    throw trail.stop(node, "forwarding table", `${nameOf(device)} does not know on which node ${known.mac} is`);
  trail.ok(node, "forwarding table", `${known.mac} is on the node at ${entry.ip}`);
  const under = routeOf(host, { to: entry.ip, from: data.local ?? data.local6 });
  if ("refused" in under)
    throw trail.stop(node, "underlay", `${refusals[under.refused] ?? under.refused}: to the node at ${entry.ip}`);
  if (under.kind === kinds.local) throw trail.stop(node, "underlay", `${entry.ip} is this node's own address`);
  const link = findLink(host, under.link ?? 0);
  const wrong = link && wrongWith(link);
  if (!link || wrong) throw trail.stop(node, "underlay", wrong ?? `no link leads to ${entry.ip}`);
  const nextHop = under.gateway ?? entry.ip;
  const beside = neighbourOf(host, link.index, nextHop);
  if (beside && stateOf(beside) === "failed")
    throw trail.stop(node, "underlay", `${nextHop} on ${nameOf(link)} did not answer when last asked`);
  const room = (link.mtu ?? 0) - (familyOf(entry.ip) === 4 ? 50 : 70);
  if ((device.mtu ?? 0) > room)
    trail.note(
      node,
      "MTU",
      `${nameOf(device)} takes ${device.mtu} bytes, ${nameOf(link)} has room for ${room}: large packets are lost or cut up`,
    );
  trail.ok(
    node,
    "tunnel",
    `VXLAN ${data.id} to ${entry.ip}, UDP port ${data.port}, by ${nameOf(link)}: from here on that node leads it`,
  );
}
