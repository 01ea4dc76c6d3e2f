// The C library calls that the suite stands on, each with the types it really takes.
// Every call that fails throws a SystemError; EINTR is retried where the call can block.
// Numbers of flags and modes: asm-generic headers, the same on x86-64 and arm64 unless said otherwise.
import { link, readI32, type Signature } from "#ffi";

const table = {
  read: [["i32", "buffer", "usize"], "i32"],
  write: [["i32", "buffer", "usize"], "i32"],
  pread: [["i32", "buffer", "usize", "i64"], "i32"],
  pwrite: [["i32", "buffer", "usize", "i64"], "i32"],
  open: [["buffer", "i32", "u32"], "i32"],
  openat: [["i32", "buffer", "i32", "u32"], "i32"],
  close: [["i32"], "i32"],
  ftruncate: [["i32", "i64"], "i32"],
  futimens: [["i32", "buffer"], "i32"],
  flock: [["i32", "i32"], "i32"],
  fsync: [["i32"], "i32"],
  unlinkat: [["i32", "buffer", "i32"], "i32"],
  linkat: [["i32", "buffer", "i32", "buffer", "i32"], "i32"],
  renameat: [["i32", "buffer", "i32", "buffer"], "i32"],
  symlinkat: [["buffer", "i32", "buffer"], "i32"],
  readlinkat: [["i32", "buffer", "buffer", "usize"], "i32"],
  mkdirat: [["i32", "buffer", "u32"], "i32"],
  getdents64: [["i32", "buffer", "usize"], "i32"],
  statx: [["i32", "buffer", "i32", "u32", "buffer"], "i32"],
  fstatfs: [["i32", "buffer"], "i32"],
  socket: [["i32", "i32", "i32"], "i32"],
  bind: [["i32", "buffer", "u32"], "i32"],
  setsockopt: [["i32", "i32", "i32", "buffer", "u32"], "i32"],
  send: [["i32", "buffer", "usize", "i32"], "i32"],
  recv: [["i32", "buffer", "usize", "i32"], "i32"],
  setns: [["i32", "i32"], "i32"],
  getpid: [[], "i32"],
  kill: [["i32", "i32"], "i32"],
  clock_gettime: [["i32", "buffer"], "i32"],
  poll: [["buffer", "usize", "i32"], "i32"],
  _exit: [["i32"], "void"],
  __errno_location: [[], "pointer"],
} as const satisfies Record<string, Signature>;

type Name = keyof typeof table;
type Value<K> = K extends "buffer" ? Uint8Array : number;
type Values<A extends readonly unknown[]> = { -readonly [I in keyof A]: Value<A[I]> };
type Functions = { [N in Name]: (...args: Values<(typeof table)[N][0]>) => number };

export const AT_FDCWD = -100;

// What only glibc has, for the helper process of helper.ts.
const glibcTable = {
  ...table,
  getcontext: [["buffer"], "i32"],
  makecontext: [["buffer", "pointer", "i32", "i64", "i64", "i64", "i64", "i64", "i64", "i64"], "void"],
  clone: [["pointer", "pointer", "i32", "pointer"], "i32"],
  dlsym: [["pointer", "buffer"], "pointer"],
} as const satisfies Record<string, Signature>;

let linked: Functions | undefined;
let complete = false;

/** The bound functions. Linked at first use, so that a refusal can still be reported as a CNI error. */
export function libc(): Functions {
  if (linked) return linked;
  try {
    linked = link(["libc.so.6"], glibcTable) as unknown as Functions;
    complete = true;
  } catch {
    // No glibc: musl's names for the same library. Its refusal is the one that is reported.
    linked = link(["libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"], table) as unknown as Functions;
  }
  return linked;
}

/** The calls that lay out a helper process, and the addresses of two functions that it runs; undefined without glibc. */
export function contextCalls() {
  const calls = libc() as unknown as Record<keyof typeof glibcTable, (...args: any[]) => number>;
  if (!complete) return undefined;
  const { getcontext, makecontext, clone, dlsym } = calls;
  return {
    getcontext,
    makecontext,
    clone,
    syscall: dlsym(0, cstring("syscall")),
    setcontext: dlsym(0, cstring("setcontext")),
  };
}

/** A system call that the kernel refused: `code` is the errno name, `operation` says what was tried. */
export class SystemError extends Error {
  readonly errno: number;
  readonly code: string;
  readonly operation: string;
  constructor(operation: string, errno: number) {
    super(`Cannot ${operation}: ${errnoText(errno)}`);
    this.operation = operation;
    this.errno = errno;
    this.code = errnoName(errno);
  }
}

/** The errno of the call that has just failed. */
export function errno(): number {
  return readI32(libc().__errno_location());
}

/** Passes a result on, or throws a SystemError for -1. */
export function checked(result: number, operation: string): number {
  if (result < 0) throw new SystemError(operation, errno());
  return result;
}

/** True for a SystemError (or NetlinkError) with one of these errno names. */
export function isErrno(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && codes.includes((error as { code?: string }).code ?? "");
}

const encoder = new TextEncoder();

/** Text as C takes it. A NUL inside would cut a path short, so it is refused. */
export function cstring(text: string): Uint8Array {
  if (text.includes("\0")) throw new TypeError(`Cannot pass ${JSON.stringify(text)} to the system: it holds a NUL`);
  return encoder.encode(text + "\0");
}

export function exit(status: number): never {
  libc()._exit(status);
  throw new Error("unreachable");
}

/** Seconds and nanoseconds of a clock as one number of nanoseconds. */
export function clock(id: 0 | 1 | 7): number {
  const time = new Uint8Array(16);
  checked(libc().clock_gettime(id, time), `read clock ${id}`);
  const view = new DataView(time.buffer);
  return Number(view.getBigInt64(0, true)) * 1e9 + Number(view.getBigInt64(8, true));
}

/** errno names and texts: asm-generic/errno-base.h and errno.h; only those that our calls can meet. */
const errors: Record<number, [name: string, text: string]> = {
  1: ["EPERM", "operation not permitted"],
  2: ["ENOENT", "no such file or directory"],
  3: ["ESRCH", "no such process"],
  4: ["EINTR", "interrupted system call"],
  5: ["EIO", "input/output error"],
  6: ["ENXIO", "no such device or address"],
  7: ["E2BIG", "argument list too long"],
  9: ["EBADF", "bad file descriptor"],
  11: ["EAGAIN", "resource temporarily unavailable"],
  12: ["ENOMEM", "cannot allocate memory"],
  13: ["EACCES", "permission denied"],
  14: ["EFAULT", "bad address"],
  16: ["EBUSY", "device or resource busy"],
  17: ["EEXIST", "file exists"],
  18: ["EXDEV", "invalid cross-device link"],
  19: ["ENODEV", "no such device"],
  20: ["ENOTDIR", "not a directory"],
  21: ["EISDIR", "is a directory"],
  22: ["EINVAL", "invalid argument"],
  23: ["ENFILE", "too many open files in system"],
  24: ["EMFILE", "too many open files"],
  27: ["EFBIG", "file too large"],
  28: ["ENOSPC", "no space left on device"],
  30: ["EROFS", "read-only file system"],
  31: ["EMLINK", "too many links"],
  32: ["EPIPE", "broken pipe"],
  33: ["EDOM", "numerical argument out of domain"],
  34: ["ERANGE", "numerical result out of range"],
  36: ["ENAMETOOLONG", "file name too long"],
  38: ["ENOSYS", "function not implemented"],
  39: ["ENOTEMPTY", "directory not empty"],
  40: ["ELOOP", "too many levels of symbolic links"],
  61: ["ENODATA", "no data available"],
  71: ["EPROTO", "protocol error"],
  75: ["EOVERFLOW", "value too large for defined data type"],
  90: ["EMSGSIZE", "message too long"],
  93: ["EPROTONOSUPPORT", "protocol not supported"],
  95: ["EOPNOTSUPP", "operation not supported"],
  97: ["EAFNOSUPPORT", "address family not supported"],
  98: ["EADDRINUSE", "address already in use"],
  99: ["EADDRNOTAVAIL", "cannot assign requested address"],
  100: ["ENETDOWN", "network is down"],
  101: ["ENETUNREACH", "network is unreachable"],
  105: ["ENOBUFS", "no buffer space available"],
  107: ["ENOTCONN", "not connected"],
  110: ["ETIMEDOUT", "timed out"],
  111: ["ECONNREFUSED", "connection refused"],
  113: ["EHOSTUNREACH", "no route to host"],
  117: ["EUCLEAN", "structure needs cleaning"],
  122: ["EDQUOT", "disk quota exceeded"],
};

export function errnoName(errno: number): string {
  return errors[errno]?.[0] ?? `errno ${errno}`;
}

export function errnoText(errno: number): string {
  return errors[errno]?.[1] ?? `errno ${errno}`;
}
