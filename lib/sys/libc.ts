// The C library calls that the suite stands on, each with the types it really takes.
// Every call that fails throws a SystemError; EINTR is retried where the call can block.
// Numbers of flags and modes: asm-generic headers, the same on x86-64 and arm64 unless said otherwise.
import { addressOf, link, readI32 } from "#ffi";

/** Where a buffer is in memory, for structures that point to others. */
export { addressOf };

/** Whether this machine is arm64; the others are x86-64. */
export const isArm = process.arch === "arm64";

// Everything goes through one C function, syscall(2): each function bound costs 10 us at start-up, and thirty of them
// would be a tenth of an ADD. Numbers: asm/unistd_64.h of x86-64, asm-generic/unistd.h for arm64.
const number = (x64: number, arm64: number) => (isArm ? arm64 : x64);
const numbers = {
  read: number(0, 63),
  write: number(1, 64),
  pread: number(17, 67),
  pwrite: number(18, 68),
  openat: number(257, 56),
  close: number(3, 57),
  ftruncate: number(77, 46),
  utimensat: number(280, 88),
  flock: number(73, 32),
  fsync: number(74, 82),
  unlinkat: number(263, 35),
  linkat: number(265, 37),
  renameat: number(264, 38),
  symlinkat: number(266, 36),
  readlinkat: number(267, 78),
  mkdirat: number(258, 34),
  getdents64: number(217, 61),
  statx: number(332, 291),
  fstatfs: number(138, 44),
  socket: number(41, 198),
  bind: number(49, 200),
  setsockopt: number(54, 208),
  getsockopt: number(55, 209),
  sendto: number(44, 206),
  recvfrom: number(45, 207),
  setns: number(308, 268),
  getpid: number(39, 172),
  kill: number(62, 129),
  clock_gettime: number(228, 113),
  nanosleep: number(35, 101),
  exit_group: number(231, 94),
  close_range: number(436, 436),
  pipe2: number(293, 59),
};

export type SystemCall = keyof typeof numbers;

export const AT_FDCWD = -100;

/** The C library: glibc first, then musl's names for the same. */
export const libraries = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];
const i64x7 = ["i64", "i64", "i64", "i64", "i64", "i64", "i64"] as const;

let bound: ((...args: number[]) => number) | undefined;
let errnoAt: number;

// Bound at first use, so that a refusal can still be reported as a CNI error. Between a call and the reading of its
// errno nothing may be allocated: a garbage collection would leave an errno of its own. So the result is one of 32 bits
// (Deno makes an object of a longer one; none of our calls has one), and errno's place, the same for the life of the
// thread, is asked for beforehand.
function base() {
  if (!bound) {
    const c = link(libraries, { syscall: [i64x7, "i32"], __errno_location: [[], "pointer"] });
    errnoAt = c.__errno_location!();
    bound = c.syscall!;
  }
  return bound;
}

/** The number of a system call on this machine. */
export function numberOf(name: SystemCall): number {
  return numbers[name];
}

type Argument = number | Uint8Array;

/** The buffers of the call under way: their addresses alone would not keep them from the garbage collector. */
const held: Argument[] = [0, 0, 0, 0, 0, 0];

/**
 * Makes a system call: numbers as they are, buffers by their address. The result is -1 where it failed, and errno()
 * says why, if asked at once.
 */
export function system(
  name: SystemCall,
  a: Argument = 0,
  b: Argument = 0,
  c: Argument = 0,
  d: Argument = 0,
  e: Argument = 0,
): number {
  // Written out: lists and closures here, called a hundred times, would have the runtime start its compiler threads.
  held[0] = a;
  held[1] = b;
  held[2] = c;
  held[3] = d;
  held[4] = e;
  return base()(
    numbers[name],
    typeof a === "number" ? a : addressOf(a),
    typeof b === "number" ? b : addressOf(b),
    typeof c === "number" ? c : addressOf(c),
    typeof d === "number" ? d : addressOf(d),
    typeof e === "number" ? e : addressOf(e),
    0,
  );
}

/** What glibc has for laying out a helper process, and where two functions that it runs are; undefined without glibc. */
export function contextCalls() {
  let calls: Record<string, (...args: any[]) => number>;
  try {
    calls = link(["libc.so.6"], {
      getcontext: [["buffer"], "i32"],
      makecontext: [["buffer", "pointer", "i32", ...i64x7], "void"],
      clone: [["pointer", "pointer", "i32", "pointer"], "i32"],
      dlsym: [["pointer", "buffer"], "pointer"],
    });
  } catch {
    return undefined; // musl has none of them
  }
  const { getcontext, makecontext, clone, dlsym } = calls as Record<
    "getcontext" | "makecontext" | "clone" | "dlsym",
    any
  >;
  const address = (name: string): number => dlsym(0, cstring(name));
  return { getcontext, makecontext, clone, syscall: address("syscall"), setcontext: address("setcontext") };
}

/** Waits without giving up the thread. */
export function sleep(milliseconds: number): void {
  const time = new Uint8Array(16);
  const view = new DataView(time.buffer);
  view.setBigInt64(0, BigInt(Math.floor(milliseconds / 1000)), true);
  view.setBigInt64(8, BigInt((milliseconds % 1000) * 1e6), true);
  system("nanosleep", time, 0);
}

/**
 * Asks again and again, after an eighth of a millisecond first, then after twice as long each time up to 32 ms, until it is
 * done, for about so many milliseconds at most. Whether it is done.
 */
export function waitUntil(isDone: () => boolean, patience: number): boolean {
  for (let waited = 0, pause = 1 / 8; !isDone(); waited += pause, pause = Math.min(2 * pause, 32)) {
    if (waited >= patience) return false;
    sleep(pause);
  }
  return true;
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
  return readI32(errnoAt);
}

/** Passes a result on, or throws a SystemError for -1. The operation is a constant: to compose it would allocate before errno is read. */
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
  system("exit_group", status);
  throw new Error("unreachable");
}

/** Seconds and nanoseconds of a clock as one number of nanoseconds. */
export function clock(id: 0 | 1 | 7): number {
  const time = new Uint8Array(16);
  checked(system("clock_gettime", id, time), "read a clock");
  const view = new DataView(time.buffer);
  return (view.getUint32(0, true) + view.getInt32(4, true) * 2 ** 32) * 1e9 + view.getUint32(8, true);
}

/** errno names and texts: asm-generic/errno-base.h and errno.h; only those that our calls can meet. Made when one is asked for. */
const makeErrors = (): Record<number, [name: string, text: string]> => ({
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
  85: ["ERESTART", "interrupted, must be asked again"],
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
});

let errors: ReturnType<typeof makeErrors> | undefined;

function errorOf(errno: number): [name: string, text: string] | undefined {
  errors ??= makeErrors();
  return errors[errno];
}

export function errnoName(errno: number): string {
  return errorOf(errno)?.[0] ?? `errno ${errno}`;
}

export function errnoText(errno: number): string {
  return errorOf(errno)?.[1] ?? `errno ${errno}`;
}
