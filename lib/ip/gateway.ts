// The gateway of the pods on a bridge: an address of the bridge itself, or with a VLAN of a pair of links of its own, one
// end of which is a port in that VLAN, as the bridge's own frames are in none.
import { CniError, codes, isErrno } from "../cni/errors.ts";
import { hostLinkName } from "../cni/identity.ts";
import type { Part } from "../cni/request.ts";
import type { IpConfig } from "../cni/result.ts";
import type { Namespace } from "../netns/netns.ts";
import { ensureGatewayAddress, listAddresses } from "./address.ts";
import {
  awaitCarrier,
  createVeth,
  findLink,
  isUp,
  type Link,
  listLinks,
  removeLink,
  setLinkUp,
  theLink,
} from "./link.ts";
import { assertPath, ensureSubnetRoute } from "./subnet-route.ts";
import { ensureForwarding } from "./sysctl.ts";
import { setPortVlans } from "./vlan.ts";

export interface Gateway {
  /** Of pods' untagged frames; 0 or none: the bridge is the link. */
  vlan?: number;
  /** Of the pair; 0 or none: the kernel's choice. */
  mtu?: number;
  /** Replaces another address of the same family that the link has. */
  forceAddress: boolean;
}

/** The link that carries the gateway's address; the pair is made if it is not there. */
export function ensureGatewayLink(ns: Namespace, bridge: Link, { vlan, mtu }: Gateway): Link {
  if (!vlan) return bridge;
  const name = linkName(bridge.name!, vlan);
  const there = findLink(ns, name);
  if (there && isUp(there)) return there;
  const hostName = portName(bridge.name!, vlan);
  const pair = { hostName, podName: name, mtu: mtu || undefined, master: bridge.index, alias: `${name} gateway` };
  try {
    if (!there) createVeth(ns, ns, pair);
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error; // another pod's ADD was quicker
  }
  // Up last: one that is down is another's under way, or was left by an ADD that was killed.
  const port = theLink(ns, hostName);
  setPortVlans(ns, port.index, [{ id: vlan, pvid: true, untagged: true }], false);
  setLinkUp(ns, theLink(ns, name).index);
  awaitCarrier(ns, port);
  return theLink(ns, name);
}

const linkName = (bridge: string, vlan: number | undefined) => (vlan ? `${bridge}.${vlan}` : bridge);

/** The bridge's end of the pair. */
const portName = (bridge: string, vlan: number) => hostLinkName(bridge, "gateway", `${vlan}`);

/** Gives the link the gateways of these addresses, and lets the host forward their families. */
export function openGateway(ns: Namespace, link: Link, ips: readonly IpConfig[], { forceAddress }: Gateway): void {
  for (const ip of ips) {
    ensureGatewayAddress(ns, link, gatewayOf(ip), forceAddress);
    ensureForwarding(ns, ip.gateway!.includes(":") ? 6 : 4);
  }
}

/** The gateway with the prefix of the pod's address: "10.1.0.1/24". */
const gatewayOf = ({ address, gateway }: IpConfig) => `${gateway}/${address.split("/")[1]}`;

/** Removes a VLAN's pair once no pod is left on the bridge; the bridge itself stays. */
export function sweepGateway(ns: Namespace, bridge: string, { vlan }: Gateway): void {
  const link = vlan ? findLink(ns, bridge) : undefined;
  if (!link) return;
  const port = portName(bridge, vlan!);
  if (listLinks(ns, { master: link.index }).every(({ name }) => name === port)) removeLink(ns, { name: port });
}

/** The gateway's addresses, and the routes to the pods' subnets, as parts. */
export function gatewayParts(ns: Namespace, bridge: string, gateway: Gateway, ips: readonly IpConfig[]): Part[] {
  const name = linkName(bridge, gateway.vlan);
  return ips.flatMap((ip) => {
    const text = gatewayOf(ip);
    return [
      {
        kind: "address",
        name: `${text} of ${name}`,
        check: () => {
          const have = listAddresses(ns, theLink(ns, name).index);
          if (!have.some(({ ip, prefix }) => `${ip}/${prefix}` === text))
            throw new CniError(codes.checkFailed, `Cannot find address ${text}`);
        },
        ensure: () => openGateway(ns, ensureGatewayLink(ns, theLink(ns, bridge), gateway), [ip], gateway),
      },
      {
        kind: "route",
        name: `to ${ip.address} by ${name}`,
        check: () => assertPath(ns, theLink(ns, name).index, ip.address),
        ensure: () => ensureSubnetRoute(ns, theLink(ns, name).index, text),
      },
    ];
  });
}
