// How a packet gets out of a pod: its link, route and neighbour there, and the port of the bridge, if there is one.
import { findLink, isUp, type Link, listLinks } from "../../lib/ip/link.ts";
import { readSysctl } from "../../lib/ip/sysctl.ts";
import { IFF_LOOPBACK } from "../../lib/netlink/rtnl/link.ts";
import { host } from "../../lib/netns/netns.ts";
import { guardedMac } from "./filters.ts";
import { kinds, neighbourOf, routeOf, stateOf } from "./lookup.ts";
import {
  describe,
  familyOf,
  hostEnd,
  linkWith,
  nameOf,
  node,
  refusals,
  routeText,
  type Way,
  wrongWith,
} from "./way.ts";

/** The pod's link, route and neighbour; returns the host's end of the link, which the packet comes in by. */
export function leavePod(way: Way): Link {
  const { from, target, trail, family } = way;
  const ns = from.ns!;
  const at = from.name;
  const links = listLinks(ns).filter(({ flags }) => (flags & IFF_LOOPBACK) === 0);
  if (links.length === 0) throw trail.stop(at, "link", "it has no interface: was it ever attached?");
  const route = routeOf(ns, { to: target });
  if ("refused" in route) {
    // Without the link its routes are gone too: that is the cause to name.
    const down = links.find((link) => !isUp(link));
    if (down) throw trail.stop(at, "link", `${nameOf(down)} is down`);
    if (!from.addresses.some((address) => familyOf(address) === family))
      throw trail.stop(at, "address", `it has no IPv${family} address`);
    throw trail.stop(at, "route", `${refusals[route.refused] ?? route.refused}: to ${target}`);
  }
  if (route.kind === kinds.local) throw trail.stop(at, "route", `${target} is its own address: nothing leaves it`);
  const link = links.find(({ index }) => index === route.link);
  if (!link) throw trail.stop(at, "route", `to ${target} it stays on the loopback`);
  const wrong = wrongWith(link);
  if (wrong) throw trail.stop(at, "link", wrong);
  way.source = route.source ?? from.addresses.find((address) => familyOf(address) === family) ?? "";
  way.mtu = link.mtu;
  trail.ok(at, "link", describe(link, way.source));
  trail.ok(at, "route", routeText(route, link, target));
  const hop = route.gateway ?? target;
  const known = neighbourOf(ns, link.index, hop);

  const outer = link.info?.kind === "veth" && link.link !== undefined ? findLink(host, link.link) : undefined;
  if (outer?.info?.kind !== "veth" || outer.link !== link.index)
    throw trail.stop(
      at,
      "link",
      `${nameOf(link)} is a ${link.info?.kind ?? "device"} without an end on this node: its way is not ours to follow`,
    );
  const outerWrong = wrongWith(outer);
  if (outerWrong) throw trail.stop(node, "link", outerWrong);
  trail.ok(node, "link", describe(outer));
  const master = outer.master === undefined ? undefined : findLink(host, outer.master);
  const entrance = master?.info?.kind === "bridge" ? throughPort(way, outer, master, link.mac ?? "") : outer;
  answerer(way, { hop, known, inner: link, entrance });
  return gatewayOf(entrance, hop);
}

/** A bridge with VLANs has its gateways beside it: pairs of links, one end a port, the other with the address. */
function gatewayOf(entrance: Link, hop: string): Link {
  const holder = linkWith(host, hop);
  const port = holder?.info?.kind === "veth" && holder.link !== undefined ? findLink(host, holder.link) : undefined;
  return holder && port && port.link === holder.index && port.master === entrance.index ? holder : entrance;
}

/** The bridge that the port is of, after what its port lets in. */
function throughPort({ trail }: Way, port: Link, bridge: Link, mac: string): Link {
  const state = port.info?.port?.state;
  if (!isUp(bridge)) throw trail.stop(node, "bridge", `${nameOf(bridge)} is down`);
  if (state !== undefined && state !== 3)
    throw trail.stop(node, "bridge port", `${nameOf(port)} does not forward: it is in state ${state}`);
  const guard = guardedMac(host, nameOf(port));
  if (guard !== undefined && guard !== mac)
    throw trail.stop(
      node,
      "bridge port",
      `${nameOf(port)} takes frames from ${guard} alone, not from ${mac} (macspoofchk)`,
    );
  const more = [...(guard ? [`takes ${guard} alone`] : []), ...(port.info?.port?.isolated ? ["isolated"] : [])];
  trail.ok(node, "bridge port", `${nameOf(port)} of ${nameOf(bridge)}${more.length > 0 ? `: ${more.join(", ")}` : ""}`);
  return bridge;
}

/** Who answers for the pod's next hop: the node itself, a port of the same bridge, or nobody. */
function answerer(
  way: Way,
  { hop, known, inner, entrance }: { hop: string; known: ReturnType<typeof neighbourOf>; inner: Link; entrance: Link },
): void {
  const { trail, from } = way;
  const holder = linkWith(host, hop);
  const isBridge = entrance.info?.kind === "bridge";
  const isNeighbour = !holder && isBridge && hostEnd(way.find(hop), hop)?.outer.master === entrance.index;
  const told = known
    ? `${hop} is ${known.mac ?? "not"} known (${stateOf(known)})`
    : `${hop} is asked for when first needed`;
  const text = known?.mac ? `${hop} is ${known.mac} (${stateOf(known)})` : told;
  if (!holder && !isNeighbour) {
    const proxied = readSysctl(host, `ipv4/conf/${nameOf(entrance)}/proxy_arp`) === "1";
    const others = isBridge
      ? listLinks(host, { master: entrance.index }).filter(({ info }) => info?.kind !== "veth")
      : [];
    if (proxied) trail.ok(from.name, "neighbour", `${hop}: the node answers for it (proxy_arp)`);
    else if (others.length > 0 && hop === way.target)
      trail.note(
        from.name,
        "neighbour",
        `${text}; nobody on this node has it: it may be behind ${others.map(nameOf).join(", ")}`,
      );
    else
      throw trail.stop(
        from.name,
        "neighbour",
        `nobody that ${nameOf(entrance)} leads to has ${hop}, the next hop of ${nameOf(inner)}`,
      );
    return;
  }
  if (holder && known?.mac && holder.mac && known.mac !== holder.mac && stateOf(known) === "permanent")
    throw trail.stop(
      from.name,
      "neighbour",
      `${hop} is fixed to ${known.mac}, but ${nameOf(holder)}, which has it, is ${holder.mac}`,
    );
  if (known && stateOf(known) === "failed") trail.note(from.name, "neighbour", `${hop} did not answer when last asked`);
  else trail.ok(from.name, "neighbour", text);
}
