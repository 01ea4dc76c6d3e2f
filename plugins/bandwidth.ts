#!/usr/bin/env bun
// bandwidth: limits how fast a pod's link may receive and send.
// https://www.cni.dev/plugins/current/meta/bandwidth/
import { any, cidrText, config, int, list, object } from "../lib/cni/config.ts";
import { badConfig, CniError, codes, runAll, transaction } from "../lib/cni/errors.ts";
import { hexName, hostLinkName, isOfNetwork, labelOf } from "../lib/cni/identity.ts";
import { main } from "../lib/cni/main.ts";
import type { Part, Plugin, Request } from "../lib/cni/request.ts";
import type { Result } from "../lib/cni/result.ts";
import { findLink, type Link, listLinks, removeLink, removeLinks, theLink } from "../lib/ip/link.ts";
import { host, inPod, inPodIfAny, type Namespace } from "../lib/ip/pod.ts";
import {
  assertShaped,
  createDevice,
  findLinks,
  type Limit,
  missingKinds,
  type Shaping,
  shapeReceiving,
  shapeSending,
  unshapeLink,
} from "../lib/ip/shaping.ts";
import { unplugLink } from "../lib/ip/unplug.ts";
import { filtered, first, mapped } from "../lib/sys/list.ts";

const limits = {
  ingressRate: [int, { min: 0 }, "bits a second into the pod; 0: no limit. Only with ingressBurst"],
  ingressBurst: [int, { min: 0 }, "bits that may come at once after a pause; a frame at least. No default"],
  egressRate: [int, { min: 0 }, "bits a second out of the pod; 0: no limit. Only with egressBurst"],
  egressBurst: [int, { min: 0 }, "bits that may go at once after a pause; a frame at least. No default"],
  shapedSubnets: [list(cidrText), "networks whose traffic alone is limited"],
  unshapedSubnets: [list(cidrText), "networks whose traffic is not limited; not together with shapedSubnets"],
} as const;

const conf = config({
  ...limits,
  runtimeConfig: [
    object({ bandwidth: [object(limits), "limits of one pod, used if none is set above"] }),
    "capabilities",
  ],
  capabilities: [any, "accepted: the runtime's concern"],
});

type BandwidthRequest = Request<typeof conf>;

/** The limits of the pod's link as the host's end has them: what it sends is what comes into the pod. */
function wanted({ conf }: BandwidthRequest): Shaping {
  const given = conf.runtimeConfig?.bandwidth;
  const { ingressRate, ingressBurst, egressRate, egressBurst } = conf;
  const fixed = (ingressRate ?? ingressBurst ?? egressRate ?? egressBurst) !== undefined;
  const [from, path] = fixed || !given ? [conf, ""] : [given, "runtimeConfig.bandwidth."];
  const sending = limitOf(`${path}ingress`, from.ingressRate, from.ingressBurst);
  const receiving = limitOf(`${path}egress`, from.egressRate, from.egressBurst);

  const networks = conf.shapedSubnets || conf.unshapedSubnets ? conf : (given ?? conf);
  const shaped = networks.shapedSubnets ?? [];
  const unshaped = networks.unshapedSubnets ?? [];
  if (shaped.length > 0 && unshaped.length > 0) {
    throw badConfig(
      "unshapedSubnets",
      unshaped,
      "not together with shapedSubnets: each says what of the other networks",
    );
  }
  const cidrs = [...shaped, ...unshaped];
  return { sending, receiving, subnets: cidrs.length > 0 ? { shaped: shaped.length > 0, cidrs } : undefined };
}

/** Bytes from bits. Both numbers or none, as the reference wants it. */
function limitOf(which: string, rate = 0, burst = 0): Limit | undefined {
  if (rate === 0 && burst === 0) return undefined;
  if (burst === 0) throw badConfig(`${which}Rate`, rate, `${which}Burst must be set too`);
  if (rate === 0) throw badConfig(`${which}Burst`, burst, `${which}Rate must be set too`);
  const bytes = { rate: Math.floor(rate / 8), burst: Math.floor(burst / 8) };
  if (bytes.rate === 0) throw badConfig(`${which}Rate`, rate, "must be 8 or more: a byte a second");
  if (bytes.burst === 0) throw badConfig(`${which}Burst`, burst, "must be 8 or more: a byte");
  if (bytes.burst >= 0xffffffff) throw badConfig(`${which}Burst`, burst, "must be less than 4 GiB");
  return bytes;
}

/**
 * Names for the ifb link. The first is the reference's, so that each suite deletes the other's; the interface's name is
 * not part of it, so a container's second attachment to the network gets the second name.
 */
function deviceNames({ network, containerId, ifname }: BandwidthRequest): string[] {
  return [hexName("bwp", network + containerId, 15), hexName("bwp", `${network}\0${containerId}\0${ifname}`, 15)];
}

const labelFor = ({ network, containerId, ifname }: BandwidthRequest) => labelOf(network, containerId, ifname);

/** Which of the links of the two names are this attachment's. */
function devicesOf(request: BandwidthRequest, found = findLinks(host, deviceNames(request))): Link[] {
  const label = labelFor(request);
  const ours = filtered(found, (link) => link?.alias === label);
  // Without an alias it is the reference's, for whichever of the container's interfaces.
  const theirs = ours.length === 0 && found[0]?.info?.kind === "ifb" && found[0].alias === undefined;
  return (theirs ? [found[0]] : ours) as Link[];
}

/** The host's end of the pod's link, or why there is none to shape. */
function hostEnd(pod: Namespace, { ifname, prevResult }: BandwidthRequest): Link {
  const refuse = (reason: string) => badConfig("CNI_IFNAME", ifname, reason);
  const inner = findLink(pod, ifname);
  if (!inner) throw refuse("the container has no link of that name");
  const outer = peerOf(inner);
  if (!outer) throw refuse("it is no virtual Ethernet pair with one end on the host, and only such can be shaped");
  if (!first(prevResult?.interfaces ?? [], ({ name, sandbox }) => name === outer.name && !sandbox)) {
    throw refuse(`its other end "${outer.name}" is not among the host's interfaces in prevResult`);
  }
  return outer;
}

/** The link on the host that is the other end of a pod's. */
function peerOf(inner: Link): Link | undefined {
  if (inner.info?.kind !== "veth" || inner.link === undefined || inner.linkNetnsid === undefined) return undefined;
  const outer = findLink(host, inner.link);
  // Of a pair with its other end in a third namespace, the index means nothing here.
  return outer?.info?.kind === "veth" && outer.link === inner.index ? outer : undefined;
}

function add(request: BandwidthRequest): Result {
  const { netns, prevResult, warn } = request;
  const { sending, receiving, subnets } = wanted(request);
  if (!prevResult) {
    throw badConfig("prevResult", undefined, "bandwidth comes after the plugin that makes the interface");
  }
  if (!sending && !receiving) return prevResult;
  const link = inPod(netns, (pod) => hostEnd(pod, request));
  const frame = (link.mtu ?? 0) + 14;
  for (const limit of [sending, receiving]) {
    if (limit && limit.burst < frame) warn(`burst of ${limit.burst} bytes: frames of up to ${frame} bytes are dropped`);
  }
  return transaction((undo) => {
    if (sending) {
      undo(() => unshapeLink(host, link.index));
      shapeSending(host, link, sending, subnets);
    }
    if (!receiving) return prevResult;
    const device = plug(request, link.mtu);
    undo(() => removeLink(host, { index: device.index }));
    undo(() => unshapeLink(host, link.index));
    shapeReceiving(host, link, device, receiving, subnets);
    const mine = { name: device.name!, mac: device.mac, mtu: device.mtu };
    return { ...prevResult, interfaces: [...(prevResult.interfaces ?? []), mine] };
  });
}

/** The ifb link, made under the first name that is free. */
function plug(request: BandwidthRequest, mtu: number | undefined): Link {
  const alias = labelFor(request);
  const [name, other] = deviceNames(request) as [string, string];
  // Looked first: making a link labels whatever bears the name, and what is there may be another attachment's.
  const [named, spare] = findLinks(host, [name, other]);
  // Ours, of an ADD whose DEL never came, make room.
  for (const link of [named, spare]) if (link?.alias === alias) removeLink(host, { index: link.index });
  return createDevice(host, { name: named && named.alias !== alias ? other : name, alias, mtu });
}

function check(request: BandwidthRequest): void {
  const shaping = wanted(request);
  if (!request.prevResult) throw badConfig("prevResult", undefined, "CHECK needs the result of ADD");
  if (!shaping.sending && !shaping.receiving) return;
  const link = inPod(request.netns, (pod) => hostEnd(pod, request));
  assertShaped(host, link, shaping, devicesOf(request)[0]);
}

/** What the attachment has on the host. */
function parts(request: BandwidthRequest): Part[] {
  const shaping = wanted(request);
  const { sending, receiving, subnets } = shaping;
  if (!sending && !receiving) return [];
  const name = hostLinkName(request.network, request.containerId, request.ifname);
  const part: Part = {
    kind: "shaping",
    name: labelFor(request),
    check: () => assertShaped(host, theLink(host, name), shaping, devicesOf(request)[0]),
    ensure: (whole) => {
      const link = theLink(host, name);
      if (sending) shapeSending(host, link, sending, subnets);
      if (!receiving) return;
      const there = whole ? undefined : devicesOf(request)[0];
      shapeReceiving(host, link, there ?? plug(request, link.mtu), receiving, subnets);
    },
  };
  return [part];
}

function del(request: BandwidthRequest): void {
  const { network, containerId, ifname, netns } = request;
  const [ours, ...found] = findLinks(host, [hostLinkName(network, containerId, ifname), ...deviceNames(request)]);
  runAll("DEL", [
    // Before the ifb link goes: until then frames of a pod that lives on would lead nowhere.
    () => {
      if (ours) return unshapeLink(host, ours.index);
      inPodIfAny(netns, (pod) => {
        const inner = findLink(pod, ifname);
        const outer = inner && peerOf(inner);
        if (outer) unshapeLink(host, outer.index);
      });
    },
    ...mapped(
      devicesOf(request, found),
      ({ name }) =>
        () =>
          void unplugLink(name!),
    ),
  ]);
}

function gc({ network, validAttachments }: BandwidthRequest): void {
  const keep = new Set(validAttachments!.map(({ containerId, ifname }) => labelOf(network, containerId, ifname)));
  const dead = listLinks(host, { kind: "ifb" }).filter(
    ({ alias = "" }) => isOfNetwork(alias, network) && !keep.has(alias),
  );
  removeLinks(host, dead);
}

function status({ conf }: BandwidthRequest): void {
  const missing = missingKinds(host, [
    "tbf",
    "ifb",
    ...(conf.shapedSubnets || conf.unshapedSubnets ? ["htb" as const] : []),
  ]);
  if (missing.length > 0) {
    throw new CniError(codes.unavailable, `Cannot shape links: the kernel has no ${missing.join(", ")}`);
  }
}

export const plugin: Plugin<typeof conf> = {
  conf,
  versions: ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
  parts,
  add,
  check,
  del,
  gc,
  status,
};

if (import.meta.main) main(plugin);
