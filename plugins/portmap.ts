#!/usr/bin/env bun
// portmap: ports of the host that lead to ports of the pod; chained after the plugin that makes the interface.
// https://www.cni.dev/plugins/current/meta/portmap/
import { any, bool, config, int, ip, list, object, oneOf, string, type Type } from "../lib/cni/config.ts";
import { badConfig, runAll, transaction } from "../lib/cni/errors.ts";
import { hostLinkName, labelOf } from "../lib/cni/identity.ts";
import { main } from "../lib/cni/main.ts";
import type { Part, Plugin, Request } from "../lib/cni/request.ts";
import type { Result } from "../lib/cni/result.ts";
import { forgetLed, forgetOlder } from "../lib/ip/flows.ts";
import { host, inPod } from "../lib/ip/pod.ts";
import { type ProtocolWay, type Published, protocols } from "../lib/ip/port-mapping.ts";
import { assertPublishing, checkPorts, publishPorts, sweepPorts, withdrawPorts } from "../lib/ip/publish.ts";
import { hasReferencePorts, removeReferencePorts, sweepReferencePorts } from "../lib/ip/reference-ports.ts";
import { releaseLater } from "../lib/ip/release.ts";
import { filtered, first, mapped } from "../lib/sys/list.ts";

const port = { required: true, min: 1, max: 65535 } as const;

/** In any case of its letters; an empty text is TCP, as in other engines. */
const protocol: Type<keyof typeof protocols> = {
  schema: { enum: Object.keys(protocols) },
  read(value, key) {
    const word = string.read(value, key, {}).toLowerCase() || "tcp";
    if (!Object.hasOwn(protocols, word)) throw badConfig(key, value, `must be ${Object.keys(protocols).join(", ")}`);
    return word as keyof typeof protocols;
  },
};

/** Read when asked for: what ADD refused must not keep DEL from its work. */
function later<T>(type: Type<T>): Type<() => T> {
  return {
    get schema() {
      return type.schema;
    },
    read: (value, key, bounds) => () => type.read(value, key, bounds),
  };
}

const mapping = config({
  hostPort: [int, port, "port of the host"],
  containerPort: [int, port, "port of the pod"],
  protocol: [protocol, { default: "tcp" }, "protocol, in any case"],
  hostIP: [ip, "the host's address that the port is of; 0.0.0.0 and ::, all of the family; default: all"],
});

const conf = config({
  backend: [
    later(oneOf("nftables", "iptables", "")),
    "accepted for compatibility: always nftables, through the kernel",
  ],
  snat: [bool, { default: true }, "let neighbours, the pod itself and 127.0.0.1 of the host use the host's ports too"],
  masqAll: [bool, { default: false }, "hide every client of the ports behind the host's address; with snat only"],
  markMasqBit: [later(int), { min: 0, max: 31 }, "accepted for compatibility: bit 12, and for one packet alone"],
  externalSetMarkChain: [string, "accepted for compatibility: what is to be hidden needs no chain of others"],
  conditionsV4: [
    list(string),
    'which IPv4 packets the ports are for: -s, -d, -i with or without "!", or the same in words of nft',
  ],
  conditionsV6: [list(string), "the same for IPv6"],
  runtimeConfig: [object({ portMappings: [later(list(object(mapping))), "the ports"] }), "capabilities"],
  capabilities: [any, "accepted: the runtime's concern"],
});

type PortmapRequest = Request<typeof conf>;

const nameOf = ({ network, containerId, ifname }: PortmapRequest) => ({
  label: labelOf(network, containerId, ifname),
  name: hostLinkName(network, containerId, ifname),
});

/** All that ADD makes, and CHECK compares with; undefined where nothing is mapped. */
function wanted(request: PortmapRequest): Published | undefined {
  const { conf, prevResult, ifname } = request;
  const mappings = conf.runtimeConfig?.portMappings?.() ?? [];
  if (mappings.length === 0) return undefined;
  conf.backend?.();
  conf.markMasqBit?.();
  if (conf.markMasqBit && conf.externalSetMarkChain) {
    throw badConfig("externalSetMarkChain", conf.externalSetMarkChain, "not together with markMasqBit");
  }
  return {
    ...nameOf(request),
    addresses: addressesOf(prevResult ?? {}, ifname),
    mappings: mapped(mappings, ({ hostIP, ...rest }) => ({ hostIp: hostIP, ...rest })),
    hide: !conf.snat ? "none" : conf.masqAll ? "all" : "near",
    conditions: { 4: conf.conditionsV4 ?? [], 6: conf.conditionsV6 ?? [] },
  };
}

/** The first address of each family that the result has for the interface, or for none in particular. */
function addressesOf({ ips = [], interfaces = [] }: Result, ifname: string): string[] {
  const found: (string | undefined)[] = [undefined, undefined];
  for (const { address, interface: index } of ips) {
    const link = index === undefined ? undefined : interfaces[index];
    if (link && (link.name !== ifname || !link.sandbox)) continue;
    found[address.includes(":") ? 1 : 0] ??= address;
  }
  return filtered(found, (address) => address !== undefined) as string[];
}

function add(request: PortmapRequest): Result {
  const { prevResult, netns } = request;
  if (!prevResult) {
    throw badConfig("prevResult", undefined, "portmap comes after the plugin that makes the interface");
  }
  const want = wanted(request);
  if (!want) return prevResult;
  inPod(netns, () => undefined); // whoever publishes the ports of a pod that is gone has mistaken something
  for (const { hostIp, hostPort } of want.mappings) {
    if (hostIp === "::1") request.warn(`no packet for [::1]:${hostPort} can leave the host: publish it at 127.0.0.1`);
    else if (!first(want.addresses, (address) => !hostIp || address.includes(":") === hostIp.includes(":")))
      request.warn(`port ${hostPort} of ${hostIp ?? "the host"} is not published: the pod has no such address`);
  }
  return transaction((undo) => {
    undo(() => withdrawPorts(host, want));
    forget(request, forgetOlder, publishPorts(host, want));
    return prevResult;
  });
}

/** A connection that is remembered is a nuisance, but no reason to fail. */
function forget(request: PortmapRequest, verb: typeof forgetOlder, ways: readonly ProtocolWay[]): void {
  const udp = filtered(ways, ({ protocol }) => protocol === protocols.udp);
  if (udp.length === 0) return;
  try {
    verb(host, udp);
  } catch (error) {
    request.warn(`UDP connections are not forgotten: ${(error as Error).message}`);
  }
}

function check(request: PortmapRequest): void {
  if (!request.prevResult) throw badConfig("prevResult", undefined, "CHECK needs the result of ADD");
  const want = wanted(request);
  if (!want) return;
  try {
    checkPorts(host, want);
  } catch (error) {
    if (!hasReferencePorts(host, request, want)) throw error;
  }
}

function del(request: PortmapRequest): void {
  let ports: Published | undefined;
  try {
    ports = wanted(request);
  } catch {
    // Refused by ADD already, or written for another one: what there is bears the label.
  }
  const ended = withdrawPorts(host, { ...nameOf(request), ports });
  // What there is nothing of may have been published by the reference, before this suite took its place.
  if (ended.length === 0) {
    const { prevResult = {}, ifname } = request;
    ended.push(...removeReferencePorts(host, request, addressesOf(prevResult, ifname)));
  }
  forget(
    request,
    forgetLed,
    filtered(ended, ({ count }) => count !== 0),
  );
  if (ended.length > 0) releaseLater(host);
}

function gc({ network, validAttachments }: PortmapRequest): void {
  const keep = new Set(validAttachments!.map(({ containerId, ifname }) => labelOf(network, containerId, ifname)));
  runAll("GC", [
    () => sweepPorts(host, { network, keep }),
    () => sweepReferencePorts(host, network, validAttachments!),
  ]);
}

/** What the attachment has on the host. */
function parts(request: PortmapRequest): Part[] {
  const want = wanted(request);
  if (!want) return [];
  const part: Part = {
    kind: "published ports",
    name: want.label,
    check: () => checkPorts(host, want),
    ensure: (whole) => forget(request, forgetOlder, publishPorts(host, want, whole)),
  };
  return [part];
}

export const plugin: Plugin<typeof conf> = { conf, add, check, del, gc, status: () => assertPublishing(host), parts };

if (import.meta.main) main(plugin);
