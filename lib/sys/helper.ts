// A helper process that makes one system call and ends, while its maker goes on.
// Deleting a link keeps the sender inside send() for 15 to 30 ms after the link is gone (rcu_barrier in netdev_run_todo).
// A thread would not do, as a process is not reaped before its threads are; nor fork(2), which the runtime's JIT memory
// does not survive. So: clone(2) with shared memory and a chain of C calls laid out by makecontext(3); no JavaScript.
import { addressOf } from "#ffi";
import { O_CLOEXEC } from "./file.ts";
import { checked, contextCalls, isArm, numberOf, system } from "./libc.ts";

const CLONE_VM = 0x100;
const SIGCHLD = 17;

// struct ucontext_t: uc_flags, uc_link, uc_stack { ss_sp, ss_flags, ss_size }, and uc_sigmask where the machine has it.
const linkAt = 8;
const stackAt = 16;
const signalMaskAt = isArm ? 40 : 296;
const contextSize = 4608; // 968 on x86-64, 4544 on arm64, rounded up to a cache line

const callStack = 8192;
const cloneStack = 16384;

/** Referenced for good: the helper reads its memory after every function here has returned. */
const arenas: Uint8Array[] = [];

/**
 * Sends `message` on `socket` from a process of its own, which holds no descriptor open but the socket and `keep`.
 * Returns its process id, or undefined where the C library has no such means (musl).
 */
export function sendFromHelper(socket: number, message: Uint8Array, keep: readonly number[] = []): number | undefined {
  return inHelper(message, [socket, ...keep], (at) => [numberOf("sendto"), socket, at, message.length]);
}

/**
 * Holds a descriptor open in a process of its own until this one has ended: for what only its last holder waits to close.
 * Returns as sendFromHelper.
 */
export function holdFromHelper(fd: number): number | undefined {
  const ends = new Int32Array(2);
  checked(system("pipe2", new Uint8Array(ends.buffer), O_CLOEXEC), "make a pipe");
  // Nobody writes. The other end is ours alone, so what the helper reads is our end.
  return inHelper(new Uint8Array(8), [fd, ends[0]!], (at) => [numberOf("read"), ends[0]!, at, 1]);
}

/** `call` gets the address that `data` has in the helper's memory; the helper keeps no descriptor but those named. */
function inHelper(
  data: Uint8Array,
  keep: readonly number[],
  call: (address: number) => readonly number[],
): number | undefined {
  const c = contextCalls();
  if (!c) return undefined;
  const calls: (readonly number[])[] = [];
  let open = 0;
  for (const fd of [...keep].sort((a, b) => a - b)) {
    if (fd > open) calls.push([numberOf("close_range"), open, fd - 1, 0]);
    open = fd + 1;
  }
  calls.push([numberOf("close_range"), open, 0x7fffffff, 0]);

  const contextsAt = (data.length + 63) & ~63;
  const stacksAt = contextsAt + (calls.length + 2) * contextSize;
  const end = stacksAt + (calls.length + 2) * callStack + cloneStack;
  // Over an ArrayBuffer of its own: small typed arrays may move, and the contexts hold pointers into themselves.
  const arena = new Uint8Array(new ArrayBuffer(end));
  arenas.push(arena);
  arena.set(data);
  const base = addressOf(arena);
  const view = new DataView(arena.buffer);

  calls.push(call(base));
  calls.push([numberOf("exit_group"), 0]);
  const pointer = (at: number, value: number) => {
    view.setUint32(at, value % 2 ** 32, true);
    view.setUint32(at + 4, value / 2 ** 32, true);
  };
  for (let index = 0; index < calls.length; index++) {
    const [a = 0, b = 0, c_ = 0, d = 0, e = 0, f = 0, g = 0] = calls[index]!;
    const at = contextsAt + index * contextSize;
    const context = arena.subarray(at, at + contextSize);
    checked(c.getcontext(context), "prepare the helper process");
    pointer(at + linkAt, index + 1 < calls.length ? base + at + contextSize : 0);
    pointer(at + stackAt, base + stacksAt + index * callStack);
    pointer(at + stackAt + 16, callStack);
    context.fill(255, signalMaskAt, signalMaskAt + 8);
    c.makecontext(context, c.syscall, 7, a, b, c_, d, e, f, g);
  }
  const top = base + end - ((base + end) % 16);
  return checked(c.clone(c.setcontext, top, CLONE_VM | SIGCHLD, base + contextsAt), "start the helper process");
}
