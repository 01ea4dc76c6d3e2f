// Checksums of packets inside the tunnel. Network cards offer to fill them in, and some get them wrong: then TCP through the
// tunnel stalls or dies while pings pass. vmxnet3 (VMware) knows tunnels by their port alone and spoils those on others;
// kernels before 5.7 spoiled them by themselves, and are none of ours.
import { listFeatures, setFeature, txChecksum } from "../netlink/ethtool/features.ts";
import { NETLINK_GENERIC } from "../netlink/generic.ts";
import { Connection, openSocket } from "../netlink/socket.ts";
import type { Namespace } from "../netns/netns.ts";
import { AT_FDCWD, cstring, system } from "../sys/libc.ts";
import type { Paths } from "./conf.ts";

/** Drivers whose cards are known to get checksums inside of tunnels wrong. */
const broken = ["vmxnet3"];

/** What the device's feature is to be: on, off, or undefined: as the kernel has it. */
export function wantedChecksum(
  setting: NonNullable<Paths["tunnel"]>["txChecksum"],
  underlay: string,
  driver: (link: string) => string | undefined = driverOf,
): boolean | undefined {
  if (setting !== "auto") return setting === "on";
  return broken.includes(driver(underlay) ?? "") ? false : undefined;
}

/** The driver of a network card; undefined for links that are no cards. */
function driverOf(link: string): string | undefined {
  const target = new Uint8Array(256);
  const path = cstring(`/sys/class/net/${link}/device/driver`);
  const length = system("readlinkat", AT_FDCWD, path, target, target.length);
  if (length <= 0) return undefined;
  const text = new TextDecoder().decode(target.subarray(0, length));
  return text.slice(text.lastIndexOf("/") + 1);
}

function withGeneric<T>(ns: Namespace, body: (connection: Connection) => T): T {
  const connection = ns.run(() => new Connection(openSocket(NETLINK_GENERIC)));
  try {
    return body(connection);
  } finally {
    connection.close();
  }
}

/** Whether a link has its checksums filled in by somebody else. */
export function hasChecksum(ns: Namespace, index: number): boolean {
  return withGeneric(ns, (connection) => listFeatures(connection, index).includes(txChecksum));
}

/** Sees to it; false if it was so already. */
export function ensureChecksum(ns: Namespace, index: number, on: boolean): boolean {
  return withGeneric(ns, (connection) => {
    if (listFeatures(connection, index).includes(txChecksum) === on) return false;
    setFeature(connection, index, txChecksum, on);
    return true;
  });
}
