// The addresses of this node's network namespaces: what is in use whatever reservations, caches and clocks say.
// Namespaces are found by the processes in them and by their bind mounts. proc(5), namespaces(7).

import { parseIp } from "../netlink/inet.ts";
import { dumpAddresses, readAddress } from "../netlink/rtnl/address.ts";
import { NamespaceError, openNamespace } from "../netns/netns.ts";
import { close, list, O_DIRECTORY, O_RDONLY, open, readText, type Status, status } from "../sys/file.ts";
import { isErrno, waitUntil } from "../sys/libc.ts";
import { toNumber } from "./ranges.ts";

/** Every address of every network namespace. Throws if one of them cannot be asked. */
export function livingAddresses(): Set<bigint> {
  const addresses = new Set<bigint>();
  for (const path of namespaces()) {
    try {
      const namespace = openNamespace(path);
      try {
        for (const answer of namespace.route.dump(dumpAddresses(0))) {
          const ip = parseIp(readAddress(answer).ip);
          if (ip) addresses.add(toNumber(ip));
        }
      } finally {
        namespace.close();
      }
    } catch (error) {
      // Gone since it was listed.
      if (!(error instanceof NamespaceError) && !isGoing(path, error)) throw error;
    }
  }
  return addresses;
}

/** Whether a process's namespace is refused because the process ends: for a moment there is nothing to be had of it. */
function isGoing(path: string, error: unknown): boolean {
  if (isErrno(error, "ESRCH")) return true;
  return isErrno(error, "EACCES") && path.startsWith("/proc/") && waitUntil(() => isGone(path), 100);
}

function isGone(path: string): boolean {
  try {
    return !status(path);
  } catch (error) {
    return isErrno(error, "ESRCH");
  }
}

/** One path for each namespace. */
function namespaces(): Iterable<string> {
  const found = new Map<string, string>();
  const see = (path: string) => {
    let seen: Status | undefined;
    try {
      seen = status(path);
    } catch (error) {
      if (!isGoing(path, error)) throw error;
    }
    if (seen) found.set(`${seen.device} ${seen.inode}`, path);
  };
  const processes = open("/proc", O_RDONLY | O_DIRECTORY);
  try {
    for (const pid of list(processes)) if (/^[0-9]+$/.test(pid)) see(`/proc/${pid}/ns/net`);
  } finally {
    close(processes);
  }
  // Fields: id, parent, device, root, mount point, options, optional ones, "-", type, source, options.
  for (const line of readText("/proc/self/mountinfo").split("\n")) {
    const [, , , root, mountPoint] = line.split(" ");
    if (!root?.startsWith("net:[") || !line.includes(" - nsfs ")) continue;
    see(mountPoint!.replace(/\\([0-7]{3})/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 8))));
  }
  return found.values();
}
