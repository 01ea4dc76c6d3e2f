// Kernel settings under /proc/sys/net, of the network namespace that the process is in.
import type { Namespace } from "../netns/netns.ts";
import { close, O_RDWR, open, readTextIfAny, writeText } from "../sys/file.ts";
import { isErrno, system } from "../sys/libc.ts";

const root = "/proc/sys/net/";

/** The value of a setting such as "ipv4/ip_forward", without the line's end; undefined if the kernel lacks it. */
export function readSysctl(ns: Namespace, name: string): string | undefined {
  return ns.run(() => readTextIfAny(root + name)?.trimEnd());
}

/** Sets settings in order. Those that the kernel lacks (IPv6 switched off) are passed over. */
export function writeSysctls(ns: Namespace, settings: Record<string, string>): void {
  ns.run(() => {
    for (const name in settings) {
      try {
        writeText(root + name, settings[name]!);
      } catch (error) {
        if (!isErrno(error, "ENOENT")) throw error;
      }
    }
  });
}

/** Lets the host forward packets of a family. Written only if needed: the write alone floods notifications. */
export function ensureForwarding(ns: Namespace, family: 4 | 6): void {
  const name = root + (family === 4 ? "ipv4/ip_forward" : "ipv6/conf/all/forwarding");
  ns.run(() => {
    const fd = open(name, O_RDWR);
    try {
      const value = new Uint8Array(2);
      system("read", fd, value, 2);
      if (value[0] !== 49) system("pwrite", fd, new Uint8Array([49]), 1, 0);
    } finally {
      close(fd);
    }
  });
}
