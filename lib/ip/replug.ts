// An attachment's pair of links made again under a living pod, where somebody deleted it: as ADD made it, from what the
// runtime remembers. Addresses are those that the pod has, so nobody who gives addresses is asked.
import { transaction } from "../cni/errors.ts";
import type { Part } from "../cni/request.ts";
import { containerEnd, type Result } from "../cni/result.ts";
import { status } from "../sys/file.ts";
import { SystemError } from "../sys/libc.ts";
import { findLink, removeLink, theLink } from "./link.ts";
import { plugPod } from "./plug.ts";
import { host, inPodIfAny, type Namespace } from "./pod.ts";

/** A pair as it was. */
export interface Pair {
  hostName: string;
  label: string;
  ifname: string;
  /** Of both ends, where the result tells none. */
  mtu?: number;
  result: Result;
}

/**
 * Whether the namespace of a result's pod is still there. A process's (/proc/PID/ns/net) counts as gone: the number may be
 * another process's by now, after a restart of the host it is.
 */
export function isPodThere(result: Result, ifname: string): boolean {
  const path = containerEnd(result, ifname)?.sandbox;
  if (path === undefined || path.startsWith("/proc/")) return false;
  try {
    const [there, own] = [status(path), status("/proc/self/ns/net")];
    return there !== undefined && there.device === own?.device && there.inode !== own.inode;
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return false; // what cannot even be looked at is not entered
  }
}

/**
 * The pair as a part. The look is at the host's end alone. It is made with the MAC address and the MTU of the result, and
 * `configure` does with the pod's end, which is down, what ADD did. Nothing is made for a pod that is gone or going, nor
 * where the pod has a link of that name.
 */
export function pairPart(pair: Pair, configure: (pod: Namespace, index: number) => void): Part {
  const { hostName, label, ifname, result } = pair;
  return {
    kind: "link",
    name: hostName,
    inside: true,
    check: () => theLink(host, hostName),
    ensure: () => {
      const end = containerEnd(result, ifname);
      if (!end || !isPodThere(result, ifname)) return;
      inPodIfAny(end.sandbox!, (pod) => {
        if (findLink(host, hostName) || findLink(pod, ifname)) return;
        transaction((undo) => {
          const { mac, mtu = pair.mtu } = end;
          const made = plugPod(pod, { hostName, label, ifname, mtu, mac });
          undo(() => removeLink(host, { name: hostName }));
          configure(pod, made.pod.index);
        });
      });
    },
  };
}
