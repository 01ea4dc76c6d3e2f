// Network namespaces: opened by path, entered for a moment, spoken to over sockets that stay bound to them.
// setns(2) moves the calling thread alone, so what runs inside must be synchronous and use only lib/sys.
import { Connection, openSocket } from "../netlink/socket.ts";
import { close, O_NONBLOCK, O_RDONLY, open } from "../sys/file.ts";
import { checked, errno, errnoName, SystemError, system } from "../sys/libc.ts";

const CLONE_NEWNET = 0x40000000;
const NSFS_MAGIC = 0x6e736673; // linux/magic.h
const PROC_SUPER_MAGIC = 0x9fa0; // what a path below /proc says before Linux 3.19
const NETLINK_ROUTE = 0;
const NETLINK_NETFILTER = 12;

/** The path leads to no network namespace: `missing` if there is nothing, else something else is there. */
export class NamespaceError extends Error {
  readonly path: string;
  readonly missing: boolean;
  constructor(path: string, missing: boolean, cause?: unknown) {
    super(
      missing
        ? `Cannot open network namespace "${path}": no such file`
        : `Cannot open network namespace "${path}": it is no network namespace`,
      { cause },
    );
    this.path = path;
    this.missing = missing;
  }
}

/** An open network namespace and its netlink sockets, opened when first needed. */
export class Namespace {
  readonly path: string;
  #fd: number | undefined;
  #route: Connection | undefined;
  #netfilter: Connection | undefined;

  constructor(path: string, fd?: number) {
    this.path = path;
    this.#fd = fd;
  }

  /** The descriptor, for messages that name this namespace. The host's is opened on demand. */
  get fd(): number {
    return this.#fd ?? hostFd();
  }

  /** rtnetlink inside this namespace. */
  get route(): Connection {
    this.#route ??= this.run(() => new Connection(openSocket(NETLINK_ROUTE)));
    return this.#route;
  }

  /** nfnetlink inside this namespace. */
  get netfilter(): Connection {
    this.#netfilter ??= this.run(() => new Connection(openSocket(NETLINK_NETFILTER)));
    return this.#netfilter;
  }

  /** The descriptor of the nfnetlink socket, if one is open. */
  get netfilterFd(): number | undefined {
    return (this.#netfilter?.transport as { fd?: number } | undefined)?.fd;
  }

  /** Runs `body` with the process inside this namespace: synchronous calls of lib/sys only. */
  run<T>(body: () => T): T {
    const before = current;
    const target = this.#fd === undefined ? undefined : this;
    if (target === before) return body();
    hostFd(); // opened while it still is the process's own
    if (system("setns", this.fd, CLONE_NEWNET) < 0) {
      const error = errno();
      // A namespace of another kind passes every look from outside.
      if (errnoName(error) === "EINVAL") throw new NamespaceError(this.path, false);
      throw new SystemError(`enter network namespace "${this.path}"`, error);
    }
    current = target;
    try {
      return body();
    } finally {
      checked(system("setns", before?.fd ?? hostFd(), CLONE_NEWNET), "return to the host's network namespace");
      current = before;
    }
  }

  /**
   * Closes the descriptor and the rtnetlink socket. The netfilter socket stays open until the process ends: closing it
   * after a deletion waits for the kernel to finish it (10 ms and more).
   */
  close(): void {
    this.#route?.close();
    this.#route = undefined;
    if (this.#fd === undefined) return;
    if (this.#fd >= 0) close(this.#fd);
    this.#fd = -1; // what is used after this is refused, and a second close hits nobody else's descriptor
  }
}

/** The namespace that the process was started in. */
export const host: Namespace = new Namespace("/proc/self/ns/net");

let hostDescriptor: number | undefined;
/** What the process is in now; undefined: the host's. */
let current: Namespace | undefined;

function hostFd(): number {
  // The main thread's entry: /proc/thread-self would do too, but this thread is the main one.
  hostDescriptor ??= open("/proc/self/ns/net", O_RDONLY);
  return hostDescriptor;
}

/** Opens the namespace at `path`; a NamespaceError if it is missing or something else. */
export function openNamespace(path: string): Namespace {
  let fd: number;
  try {
    fd = open(path, O_RDONLY | O_NONBLOCK); // not to hang on a FIFO
  } catch (error) {
    if (error instanceof SystemError && ["ENOENT", "ENOTDIR", "ESRCH"].includes(error.code)) {
      throw new NamespaceError(path, true, error);
    }
    if (error instanceof SystemError && ["ENXIO", "EISDIR", "ELOOP", "ENAMETOOLONG"].includes(error.code)) {
      throw new NamespaceError(path, false, error);
    }
    throw error;
  }
  const filesystem = new Uint8Array(256); // struct statfs: f_type is the first long
  const ok = system("fstatfs", fd, filesystem) === 0;
  const magic = ok ? new DataView(filesystem.buffer).getUint32(0, true) : errno();
  if (magic !== NSFS_MAGIC && magic !== PROC_SUPER_MAGIC) {
    close(fd);
    throw new NamespaceError(path, false);
  }
  return new Namespace(path, fd);
}
