// A machine of its own for one group of measurements. run.ts starts this file with
//   unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private
// so everything made here (namespaces, mounts, links, processes) ends with it. See unshare(1), network_namespaces(7).
//
// Each implementation measured is a Side with a host namespace, pods, bridge and state folder of its own: neither sees what the
// other left.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { link } from "#ffi";

const libc = link(["libc.so.6", "libc.so"], {
  unshare: [["i32"], "i32"],
  setns: [["i32", "i32"], "i32"],
  open: [["buffer", "i32", "u32"], "i32"],
  mount: [["buffer", "buffer", "buffer", "usize", "usize"], "i32"],
});
const CLONE_NEWNET = 0x40000000;
const MS_BIND = 4096;
const O_CLOEXEC = 0o2000000;

/** One implementation: "reference", "ours" or "floor"; `enter` puts this thread, and so what it starts, in its host. */
export type Side = { name: string; bin: string; state: string; pods: string[]; enter: () => void };

/** What run.ts asks of one group: folders with the executables, and counts of rounds. */
export type Options = {
  reference: string;
  ours: string;
  floor?: string;
  scratch: string;
  pairs: number;
  batches: number;
  quick: boolean;
};

export type Node = { options: Options; sides: Side[] };

/** Prepares mounts, the sides' hosts and `pods` namespaces for each; a side whose programs are missing is an error. */
export function openNode(options: Options, pods = 20): Node {
  const lib = `${options.scratch}/lib`;
  mkdirSync(lib, { recursive: true });
  must("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run");
  must("mount", "--bind", lib, "/var/lib"); // state on the disk of `scratch`, also what has a fixed place
  mkdirSync("/run/netns");
  const sides = (["reference", "ours", "floor"] as const).flatMap((name): Side[] => {
    const bin = options[name];
    if (!bin) return [];
    if (name !== "floor" && !existsSync(`${bin}/bridge`)) throw new Error(`Cannot measure ${bin}: no bridge in it`);
    return [makeSide(name, bin, options.scratch, pods)];
  });
  return { options, sides };
}

/** A side by that name, for executables that another side measures too. */
export function makeSide(name: string, bin: string, scratch: string, pods: number): Side {
  const state = `${scratch}/${name}`;
  mkdirSync(state, { recursive: true });
  const namespaces = Array.from({ length: pods }, (_, at) => namespace(`${name}-${at}`));
  return { name, bin, state, pods: namespaces, enter: host(name) };
}

/** Makes a network namespace with lo up; the answer puts this thread, and so what it starts, inside. */
export function host(name: string): () => void {
  const path = namespace(name);
  const fd = libc.open!(cstring(path), O_CLOEXEC, 0);
  const enter = () => {
    if (libc.setns!(fd, CLONE_NEWNET) !== 0) throw new Error(`Cannot enter ${path}`);
  };
  enter();
  must("ip", "link", "set", "lo", "up");
  return enter;
}

function namespace(name: string): string {
  const path = `/run/netns/${name}`;
  writeFileSync(path, "");
  if (libc.unshare!(CLONE_NEWNET) !== 0) throw new Error(`Cannot make namespace ${name}`);
  if (libc.mount!(cstring("/proc/self/ns/net"), cstring(path), cstring("none"), MS_BIND, 0) !== 0) {
    throw new Error(`Cannot keep namespace ${name}`);
  }
  return path;
}

/** Runs a preparing command in the current namespace; refusal is an error with its text. */
export function must(...command: string[]): string {
  return feed("", ...command);
}

/** The same with `input` on its standard input. */
export function feed(input: string, ...command: string[]): string {
  const { success, stdout, stderr } = Bun.spawnSync(command, {
    stdin: new TextEncoder().encode(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  if (!success) throw new Error(`${command.slice(0, 3).join(" ")} failed: ${stderr.toString().trim().slice(0, 400)}`);
  return stdout.toString();
}

function cstring(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}
