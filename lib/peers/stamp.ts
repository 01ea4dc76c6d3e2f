// The stamp of a network, /run/tenon/peers/NETWORK.stamp: which snapshot and configuration the kernel has been told, in which
// boot and network namespace. An ADD that finds it current has nothing to do with other nodes, however many there are.
import {
  close,
  list,
  makeDirectory,
  O_CREAT,
  O_DIRECTORY,
  O_RDONLY,
  O_RDWR,
  open,
  readTextIfAny,
  remove,
  replaceFile,
  status,
  withLock,
} from "../sys/file.ts";
import { isErrno } from "../sys/libc.ts";
import type { Paths } from "./conf.ts";

const folder = "/run/tenon/peers";
const stampPath = (network: string) => `${folder}/${network}.stamp`;

/** What is told of the programmed state besides. */
export interface Programmed {
  /** The tunnel's device, where there is one, and what its pods' MTU must not be over. */
  device?: { index: number; name: string; mtu: number };
  /** Whatever keeps single nodes from being reached, in words. */
  problems: string[];
  /** Seconds since 1970. */
  since: number;
}

interface Stamp extends Programmed {
  boot: string;
  namespace: string;
  conf: string;
  file: string;
}

/** Identity of the snapshot's file; undefined if there is none. */
function fileOf(path: string): string | undefined {
  const there = status(path);
  return there && `${there.device} ${there.inode} ${there.size} ${there.mtime}`;
}

function place(paths: Paths): Pick<Stamp, "boot" | "namespace" | "conf"> {
  return {
    boot: readTextIfAny("/proc/sys/kernel/random/boot_id")?.trim() ?? "",
    namespace: `${status("/proc/self/ns/net")?.inode}`,
    conf: JSON.stringify(paths),
  };
}

/** What is programmed, if it is what `paths` and the file say now; undefined otherwise. */
export function readStamp(paths: Paths): Programmed | undefined {
  const text = readTextIfAny(stampPath(paths.network));
  if (text === undefined) return undefined;
  let stamp: Stamp;
  try {
    stamp = JSON.parse(text);
  } catch {
    return undefined; // cut short: whoever programmes next writes it anew
  }
  const now = place(paths);
  const file = fileOf(paths.file);
  const same = stamp.boot === now.boot && stamp.namespace === now.namespace && stamp.conf === now.conf;
  return same && file !== undefined && stamp.file === file ? stamp : undefined;
}

/** Identity of the snapshot's file, to be taken before the file is read. */
export const markFile = (paths: Paths): string => fileOf(paths.file) ?? "";

/** Says that the snapshot in the file that `mark` stands for is programmed. */
export function writeStamp(paths: Paths, mark: string, programmed: Programmed): void {
  const stamp: Stamp = { ...place(paths), file: mark, ...programmed };
  makeDirectory(folder);
  replaceFile(stampPath(paths.network), `${JSON.stringify(stamp)}\n`);
}

/** Takes the stamp away, before anything is changed: who dies half way leaves none. False if there was none. */
export function removeStamp(network: string): boolean {
  return remove(stampPath(network));
}

/** The configuration that a network was programmed with; undefined without a stamp. */
export function stampOf(network: string): { paths: Paths } | undefined {
  const text = readTextIfAny(stampPath(network));
  if (text === undefined) return undefined;
  try {
    return { paths: JSON.parse((JSON.parse(text) as Stamp).conf) };
  } catch {
    return undefined;
  }
}

/** Runs `body` while nobody else programmes this network. */
export function whileAlone<T>(network: string, body: () => T): T {
  makeDirectory(folder);
  const fd = open(`${folder}/${network}.lock`, O_RDWR | O_CREAT, 0o600);
  try {
    return withLock(fd, body);
  } finally {
    close(fd);
  }
}

/** The networks that have a stamp. */
export function stampedNetworks(): string[] {
  let directory: number;
  try {
    directory = open(folder, O_RDONLY | O_DIRECTORY);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
  try {
    const names = list(directory).filter((name) => name.endsWith(".stamp"));
    return names.map((name) => name.slice(0, -".stamp".length));
  } finally {
    close(directory);
  }
}
