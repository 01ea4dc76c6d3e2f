// Kernel settings under /proc/sys/net, of the network namespace that the process is in.
import type { Namespace } from "../netns/netns.ts";
import { readTextIfAny, writeText } from "../sys/file.ts";
import { isErrno } from "../sys/libc.ts";

const root = "/proc/sys/net/";

/** The value of a setting such as "ipv4/ip_forward", without the line's end; undefined if the kernel lacks it. */
export function readSysctl(ns: Namespace, name: string): string | undefined {
  return ns.run(() => readTextIfAny(root + name)?.trimEnd());
}

/** Sets settings in order. Those that the kernel lacks (IPv6 switched off), or that are so already, are passed over. */
export function writeSysctls(ns: Namespace, settings: Record<string, string>): void {
  ns.run(() => {
    for (const name in settings) {
      try {
        writeText(root + name, settings[name]!);
      } catch (error) {
        if (isErrno(error, "ENOENT")) continue;
        if (!isErrno(error, "EROFS", "EACCES", "EPERM") || readTextIfAny(root + name)?.trimEnd() !== settings[name])
          throw error;
      }
    }
  });
}

/** Sets what is well to have: where /proc/sys may not be written, as in many containers, things go on as they are. */
export function preferSysctls(ns: Namespace, settings: Record<string, string>): void {
  try {
    writeSysctls(ns, settings);
  } catch (error) {
    if (!isErrno(error, "EROFS", "EACCES", "EPERM")) throw error;
  }
}

/** Lets the host forward packets of a family. Written only if needed: the write alone floods notifications. */
export function ensureForwarding(ns: Namespace, family: 4 | 6): void {
  const name = root + (family === 4 ? "ipv4/ip_forward" : "ipv6/conf/all/forwarding");
  ns.run(() => {
    if (readTextIfAny(name)?.[0] !== "1") writeText(name, "1");
  });
}
