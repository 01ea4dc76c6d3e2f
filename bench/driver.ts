// Starts whole processes and times them: posix_spawn and wait4 of the C library, CLOCK_MONOTONIC around them.
// Beside a driver in C the medians are 0 to 2 % higher (n = 300), so no compiler is needed to measure.
// It runs as PID 1 of its own PID namespace (node.ts): what a plugin leaves running becomes its child and is waited for.
import { addressOf, link } from "#ffi";

const libc = link(["libc.so.6", "libc.so"], {
  posix_spawn: [["buffer", "buffer", "buffer", "usize", "buffer", "buffer"], "i32"],
  posix_spawn_file_actions_init: [["buffer"], "i32"],
  posix_spawn_file_actions_adddup2: [["buffer", "i32", "i32"], "i32"],
  posix_spawn_file_actions_destroy: [["buffer"], "i32"],
  wait4: [["i32", "buffer", "i32", "buffer"], "i32"],
  pipe2: [["buffer", "i32"], "i32"],
  open: [["buffer", "i32", "u32"], "i32"],
  read: [["i32", "buffer", "usize"], "i32"],
  write: [["i32", "buffer", "usize"], "i32"],
  close: [["i32"], "i32"],
});
const O_CLOEXEC = 0o2000000;
const O_RDWR = 2;
const WNOHANG = 1;

export type Command = { path: string; args?: string[]; env: Record<string, string>; input: string };
/** One finished process; `cpu` holds its waited-for children too. A status over 255 is a signal's. */
export type Run = { ms: number; cpu: number; status: number; output: string };

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const nowhere = libc.open!(cstring("/dev/null"), O_RDWR | O_CLOEXEC, 0);

/** Runs one process; the time includes the end of its standard output, which is what a runtime waits for. */
export function run(command: Command): Run {
  return runTogether([command]).runs[0]!;
}

/** Starts all the processes, then waits for all: `ms` is the wall time of the batch, a run's own `ms` counts from the first start. */
export function runTogether(commands: Command[]): { ms: number; runs: Run[] } {
  const started = commands.map(prepare);
  const begin = Bun.nanoseconds();
  for (const process of started) start(process);
  const ends = started.map((process) => {
    wait(process.pid[0]!, 0, process.status, process.usage);
    process.output = readAll(process.stdout);
    return Bun.nanoseconds();
  });
  const ms = (ends.at(-1)! - begin) / 1e6;
  const runs = started.map((process, at) => {
    libc.close!(process.stdout);
    libc.posix_spawn_file_actions_destroy!(process.actions);
    const { output, status, usage } = process;
    return { ms: (ends[at]! - begin) / 1e6, cpu: cpuOf(usage), status: exitOf(status[0]!), output: output ?? "" };
  });
  return { ms, runs };
}

/** Waits until nothing runs that earlier plugins left behind, a second at most: the CPU time it took, in ms. */
export function settle(): number {
  const status = new Int32Array(1);
  const usage = new BigInt64Array(18);
  const deadline = Bun.nanoseconds() + 1e9;
  let cpu = 0;
  while (Bun.nanoseconds() < deadline) {
    const pid = wait(-1, WNOHANG, status, usage);
    if (pid < 0) return cpu;
    if (pid > 0) cpu += cpuOf(usage);
    else Bun.sleepSync(0.2);
  }
  return cpu;
}

/**
 * Peak resident memory in MB of the largest process of a run. A child of posix_spawn is charged with its parent's peak, so a
 * shell stands between (its fork is charged 0.6 MB) and leaves at once: the plugin becomes our child with clean accounts.
 */
export function peakMemory(command: Command): { megabytes: number; run: Run } {
  const script = 'exec 3<&0; "$0" "$@" <&3 3<&- &';
  const args = ["-c", script, command.path, ...(command.args ?? [])];
  const shell = prepare({ ...command, path: "/bin/sh", args });
  start(shell);
  wait(shell.pid[0]!, 0, shell.status, shell.usage);
  const output = readAll(shell.stdout);
  libc.close!(shell.stdout);
  libc.posix_spawn_file_actions_destroy!(shell.actions);
  const status = new Int32Array(1);
  const usage = new BigInt64Array(18);
  const total = { kilobytes: 0, cpu: 0, status: 0 };
  while (wait(-1, 0, status, usage) > 0) {
    total.kilobytes = Math.max(total.kilobytes, Number(usage[4]));
    total.status = Math.max(total.status, exitOf(status[0]!));
    total.cpu += cpuOf(usage);
  }
  return { megabytes: total.kilobytes / 1024, run: { ms: 0, cpu: total.cpu, status: total.status, output } };
}

type Prepared = ReturnType<typeof prepare>;

/** Everything that can be done before the clock runs. */
function prepare({ path, args = [], env, input }: Command) {
  const stdin = pipe();
  const stdout = pipe();
  const text = encoder.encode(input);
  if (text.length > 0 && libc.write!(stdin[1], text, text.length) !== text.length) {
    throw new RangeError(`Cannot hand over ${text.length} bytes of input: must fit into a pipe`);
  }
  libc.close!(stdin[1]);
  const actions = new Uint8Array(256); // posix_spawn_file_actions_t is 80 bytes in glibc and musl
  libc.posix_spawn_file_actions_init!(actions);
  libc.posix_spawn_file_actions_adddup2!(actions, stdin[0], 0);
  libc.posix_spawn_file_actions_adddup2!(actions, stdout[1], 1);
  libc.posix_spawn_file_actions_adddup2!(actions, nowhere, 2);
  return {
    path: cstring(path),
    argv: pointers([path, ...args]),
    envp: pointers(Object.entries(env).map(([name, value]) => `${name}=${value}`)),
    actions,
    childEnds: [stdin[0], stdout[1]],
    stdout: stdout[0],
    pid: new Int32Array(1),
    status: new Int32Array(1),
    usage: new BigInt64Array(18), // struct rusage: user and system time as two timevals, then ru_maxrss
    output: undefined as string | undefined,
  };
}

function start({ path, argv, envp, actions, childEnds, pid }: Prepared): void {
  const error = libc.posix_spawn!(pid, path, actions, 0, argv.table, envp.table);
  for (const end of childEnds) libc.close!(end);
  if (error) throw new Error(`Cannot start ${decoder.decode(path.subarray(0, -1))}: error ${error}`);
}

/** wait4, again after a signal handler ran: only "no child" is an answer below zero. */
function wait(pid: number, options: number, status: Int32Array, usage: BigInt64Array): number {
  for (let tries = 0; ; tries++) {
    const got = libc.wait4!(pid, status, options, usage);
    if (got >= 0 || pid < 0 || tries > 100) return got;
  }
}

function readAll(fd: number): string {
  const buffer = new Uint8Array(65536);
  let text = "";
  for (let got = 1; got > 0; ) {
    got = libc.read!(fd, buffer, buffer.length);
    if (got > 0) text += decoder.decode(buffer.subarray(0, got));
  }
  return text;
}

function pipe(): [read: number, write: number] {
  const ends = new Int32Array(2);
  if (libc.pipe2!(ends, O_CLOEXEC) !== 0) throw new Error("Cannot open a pipe");
  return [ends[0]!, ends[1]!];
}

function cpuOf(usage: BigInt64Array): number {
  const [seconds, micros, systemSeconds, systemMicros] = usage;
  return Number(seconds! + systemSeconds!) * 1e3 + Number(micros! + systemMicros!) / 1e3;
}

function exitOf(status: number): number {
  return (status & 0x7f) === 0 ? status >> 8 : 256 + (status & 0x7f);
}

function cstring(text: string): Uint8Array {
  return encoder.encode(`${text}\0`);
}

/** A NULL-terminated array of C strings; `strings` is kept so that nothing it points at is collected. */
function pointers(texts: string[]): { table: BigUint64Array; strings: Uint8Array[] } {
  const strings = texts.map(cstring);
  return { table: BigUint64Array.from([...strings.map((text) => BigInt(addressOf(text))), 0n]), strings };
}
