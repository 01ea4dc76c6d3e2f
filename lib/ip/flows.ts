// Connections that the kernel remembers and that a change of published ports leaves behind. UDP alone: its "connections"
// have no end of their own, and while a client goes on sending, the kernel sends its packets where the first one went.
import { deleteFlow, dumpFlows, type Flow, readFlow } from "../netlink/conntrack.ts";
import { dumpAddresses, readAddress } from "../netlink/rtnl/address.ts";
import type { Namespace } from "../netns/netns.ts";
import { filtered } from "../sys/list.ts";
import { readSysctl } from "./sysctl.ts";

/** Where packets for a port of the host are led: `hostIp` is absent for all of the host's addresses. */
export interface Way {
  hostIp?: string;
  hostPort: number;
  ip: string;
  port: number;
}

/** How many connections the kernel remembers of a network namespace. */
const counted = "netfilter/nf_conntrack_count";
const UDP = 17;
/** Deletions in one send, which must fit the socket. */
const atOnce = 256;

/** Forgets what was begun before these ways were there and leads elsewhere. */
export function forgetOlder(ns: Namespace, ways: readonly Way[]): void {
  let own: Set<string> | undefined;
  const isOwn = (address: string) => {
    own ??= new Set(ns.route.dump(dumpAddresses(0)).map((answer) => readAddress(answer).ip));
    return address.startsWith("127.") || own.has(address);
  };
  // What only passes through this host, to a port of the same number, is left alone: answers to it would be lost.
  forget(
    ns,
    ways,
    ({ original, reply }, way) => reply.source !== way.ip && (way.hostIp !== undefined || isOwn(original.destination)),
  );
}

/** Forgets what these ways led to their end. */
export function forgetLed(ns: Namespace, ways: readonly Way[]): void {
  forget(ns, ways, ({ reply }, way) => reply.source === way.ip && reply.sourcePort === way.port);
}

function forget(ns: Namespace, ways: readonly Way[], isStale: (flow: Flow, way: Way) => boolean): void {
  if (ways.length === 0 || readSysctl(ns, counted) === "0") return; // a list takes 5 ms even of none
  for (const family of [2, 10] as const) {
    const ours = filtered(ways, ({ ip }) => ip.includes(":") === (family === 10));
    if (ours.length === 0) continue;
    // The kernel goes through all it has for each list, so several ports are picked out here.
    const port = ours.every(({ hostPort }) => hostPort === ours[0]!.hostPort) ? ours[0]!.hostPort : undefined;
    const byPort = new Map<number, Way[]>();
    for (const way of ours) byPort.set(way.hostPort, [...(byPort.get(way.hostPort) ?? []), way]);
    const stale = ns.netfilter
      .dump(dumpFlows(family, UDP, port))
      .map(readFlow)
      .filter(
        (flow) =>
          flow.protocol === UDP &&
          byPort
            .get(flow.original.destinationPort)
            ?.some(
              (way) => (way.hostIp === undefined || way.hostIp === flow.original.destination) && isStale(flow, way),
            ),
      );
    for (let at = 0; at < stale.length; at += atOnce)
      ns.netfilter.request(...stale.slice(at, at + atOnce).map(deleteFlow));
  }
}
