// Whom somebody means: a pod of this node (by namespace, container, name or address), the node itself, or somebody elsewhere.
import { existsSync } from "node:fs";
import { listLinks } from "../../lib/ip/link.ts";
import { formatIp, parseIp } from "../../lib/netlink/inet.ts";
import { dumpAddresses, readAddress } from "../../lib/netlink/rtnl/address.ts";
import { IFF_LOOPBACK } from "../../lib/netlink/rtnl/link.ts";
import { host, type Namespace, NamespaceError, openNamespace } from "../../lib/netns/netns.ts";
import type { Attachment } from "../heal/attachments.ts";
import { listNamespaces } from "./namespaces.ts";

export interface Endpoint {
  kind: "pod" | "node" | "elsewhere";
  /** How the steps call it. */
  name: string;
  /** Of a pod and the node. */
  ns?: Namespace;
  /** Its addresses; the one that was asked for, and no other, if it was. */
  addresses: string[];
}

/** Nobody is meant by that text. */
export class UnknownEndpoint extends Error {}

/** Splits "pod:80", "10.0.0.1:80" and "[fd00::1]:80"; a bare IPv6 address has no port. */
export function splitPort(text: string): { whom: string; port?: number } {
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(text);
  if (bracketed) return { whom: bracketed[1]!, ...(bracketed[2] ? { port: Number(bracketed[2]) } : {}) };
  const [, whom, digits] = /^([^:]+):(\d+)$/.exec(text) ?? [];
  return whom === undefined ? { whom: text } : { whom, port: Number(digits) };
}

/** The addresses of a namespace but for its loopback's and the links' own. */
export function addressesOf(ns: Namespace): string[] {
  const loopbacks = listLinks(ns).filter(({ flags }) => flags & IFF_LOOPBACK);
  const all = ns.route.dump(dumpAddresses(0)).map(readAddress);
  return all
    .filter(({ index, scope }) => scope === 0 && !loopbacks.some((link) => link.index === index))
    .map(({ ip }) => ip);
}

/** Finds whom `text` means, with what the runtimes remember. Throws UnknownEndpoint. */
export function findEndpoint(text: string, attachments: readonly Attachment[]): Endpoint {
  if (text === "node") return { kind: "node", name: "node", ns: host, addresses: addressesOf(host) };
  const bytes = parseIp(text);
  if (bytes) return byAddress(formatIp(bytes), attachments);
  if (text.startsWith("/") || text.startsWith("./")) return byPath(text, attachments);
  const own = attachments.filter((one) => isCalled(one, text));
  const containers = new Set(own.map(({ containerId }) => containerId));
  if (containers.size > 1) throw new UnknownEndpoint(`Cannot tell whom "${text}" means: ${[...containers].join(", ")}`);
  const path = own.map(sandboxOf).find((sandbox) => sandbox !== undefined);
  if (path) return byPath(path, attachments);
  if (existsSync(`/run/netns/${text}`)) return byPath(`/run/netns/${text}`, attachments);
  throw new UnknownEndpoint(`Cannot find "${text}": no container, pod, address or network namespace of this node`);
}

const sandboxOf = ({ result }: Attachment) => result.interfaces?.find(({ sandbox }) => sandbox)?.sandbox;

function argumentsOf({ args }: Attachment): Map<string, string> {
  return new Map(args.split(";").map((pair) => pair.split("=", 2) as [string, string]));
}

/** "NAMESPACE/NAME" as the kubelet says it, if it does. */
function podName(one: Attachment): { namespace?: string; name?: string } {
  const given = argumentsOf(one);
  return { namespace: given.get("K8S_POD_NAMESPACE"), name: given.get("K8S_POD_NAME") };
}

function isCalled(one: Attachment, text: string): boolean {
  const { namespace, name } = podName(one);
  if (text === name || text === `${namespace}/${name}`) return true;
  return text.length >= 4 ? one.containerId.startsWith(text) : one.containerId === text;
}

function byPath(path: string, attachments: readonly Attachment[]): Endpoint {
  let ns: Namespace;
  try {
    ns = openNamespace(path);
  } catch (error) {
    if (error instanceof NamespaceError) throw new UnknownEndpoint(error.message);
    throw error;
  }
  const one = attachments.find((attachment) => sandboxOf(attachment) === path);
  const known = one && podName(one);
  const name = known?.name ?? one?.containerId.slice(0, 12) ?? path.slice(path.lastIndexOf("/") + 1);
  return { kind: "pod", name: `pod ${name}`, ns, addresses: addressesOf(ns) };
}

function byAddress(address: string, attachments: readonly Attachment[]): Endpoint {
  if (addressesOf(host).includes(address)) return { kind: "node", name: "node", ns: host, addresses: [address] };
  const cached = attachments.find(({ result }) => result.ips?.some((ip) => ip.address.split("/")[0] === address));
  const paths = [...(cached ? [sandboxOf(cached) ?? ""] : []), ...listNamespaces()].filter((path) => path !== "");
  for (const path of paths) {
    try {
      const endpoint = byPath(path, attachments);
      if (endpoint.addresses.includes(address)) return { ...endpoint, addresses: [address] };
      endpoint.ns!.close();
    } catch (error) {
      if (!(error instanceof UnknownEndpoint)) throw error; // gone since it was listed
    }
  }
  return { kind: "elsewhere", name: address, addresses: [address] };
}
