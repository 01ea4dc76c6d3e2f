// A throw-away node: network, mount and process namespaces of its own, with private /run, /sys, /proc, /etc/cni and
// state folders on the disk of `dir`. See unshare(1), nsenter(1), namespaces(7), pid_namespaces(7).
//
//   await using node = await makeNode("pods", { uplink: true });   // or: finally { await node.close() }
//   await node.exec("ip", ["-j", "link"], { input, env });         // { stdout, stderr, exitCode }; refuses exit code != 0
//   await node.exec("/opt/x/bridge", [], { env, reject: false });  // any exit code
//   const pod = await node.netns("a");                             // pod.path "/run/netns/a"; pod.exec(...)
//   const before = await snapshot(node); ...; expect(leftOver(before, await snapshot(node))).toEqual([]);
//
// A process namespace, because closing it kills everything inside, also what daemonised itself: nothing is hunted by name.
// Its PID 1 is a shell that waits for end of file on its input, so the node also goes when the test process is killed.
import { constants } from "node:fs";
import { access, mkdtemp, readdir, rm, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { execa } from "execa";

/** How a process in a node is run: the environment is exactly `env` and a PATH; 20 s unless told. */
export type ExecOptions = {
  input?: string | Uint8Array;
  env?: Record<string, string>;
  cwd?: string;
  timeout?: number;
  /** false: return whatever the exit code is. */
  reject?: boolean;
};
export type Ran = { stdout: string; stderr: string; exitCode: number };
export type Exec = (command: string, args?: readonly string[], options?: ExecOptions) => Promise<Ran>;

/** A pod's namespace in a node: `path` is valid inside the node; `exec` runs there with the node's files. */
export type Netns = { name: string; path: string; exec: Exec; close(): Promise<void> };

export type Node = AsyncDisposable & {
  name: string;
  /** Folder for this node's files on the machine's disk, at the same path inside and outside; removed by close. */
  dir: string;
  /** Parent group for containers, as `--cgroup-parent`: groups are the machine's, so close removes it. */
  cgroup: string;
  /** The command line that enters the node; `enter("/run/netns/x")` goes on into that network namespace. */
  enter(netns?: string): string[];
  exec: Exec;
  /** Runs in a network namespace that somebody else made, by its path inside the node. */
  execAt(netns: string): Exec;
  /** The path by which the test process sees a file of the node. */
  path(inside: string): string;
  netns(name: string): Promise<Netns>;
  /** Where `uplink` leads to: holds `outside` addresses, has no route back to any pod. */
  outside?: Netns;
  close(): Promise<void>;
};

export type NodeOptions = {
  /** An eth0 with addresses and default routes towards a namespace "outside". */
  uplink?: boolean;
  /** false: PID 1 of the node never reaps orphans. */
  reaps?: boolean;
};

/** The addresses of the uplink. */
export const uplink = {
  node: ["192.0.2.1", "2001:db8:2::1"],
  outside: ["192.0.2.254", "2001:db8:2::fe"],
} as const;

/** Where programs are looked for in a node. */
export const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const kept = ["/etc/cni", "/var/lib/cni", "/var/lib/containers", "/var/lib/tenon"];

// Runs as PID 1. Mount points that the machine lacks are made there and stay, empty: taking them away would unmount them
// under other nodes. A new /sys shows the node's links; it hides the cgroups, so they are bound back.
const setup = (dir: string, reaps: boolean) => `
set -e
mkdir -p ${dir}/cgroup
[ ! -d /sys/fs/cgroup ] || mount --rbind /sys/fs/cgroup ${dir}/cgroup
mount -t sysfs sysfs /sys
[ ! -d /sys/fs/cgroup ] || { mount --rbind ${dir}/cgroup /sys/fs/cgroup; umount -l ${dir}/cgroup; }
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock
mount --bind /run/netns /run/netns
mount --make-shared /run/netns
for folder in ${kept.join(" ")}; do
  mkdir -p ${dir}$folder $folder
  mount --bind ${dir}$folder $folder
done
ip link set lo up
echo ready
${reaps ? "while read -r _; do :; done" : "exec cat > /dev/null"}
`;

// Before both ends have seen the carrier, which the kernel may tell a second later, IPv6 does not answer.
const addUplink = `
set -e
carrier() { case "$("$@" -o link show eth0)" in *"state UP"*) ;; *) false ;; esac; }
ip netns add outside
ip link add eth0 type veth peer name eth0 netns outside
ip -n outside link set lo up
${uplink.node.map((a) => `ip addr add ${prefixed(a)} dev eth0 nodad`).join("\n")}
${uplink.outside.map((a) => `ip -n outside addr add ${prefixed(a)} dev eth0 nodad`).join("\n")}
ip link set eth0 up
ip -n outside link set eth0 up
for try in $(seq 150); do { carrier ip && carrier ip -n outside; } && break; sleep 0.02; done
${uplink.outside.map((a) => `ip route add default via ${a}`).join("\n")}
`;

function prefixed(address: string): string {
  return `${address}/${address.includes(":") ? 64 : 24}`;
}

/** Make a node; what was made so far is removed when this fails. */
export async function makeNode(name: string, { uplink = false, reaps = true }: NodeOptions = {}): Promise<Node> {
  if (process.getuid?.() !== 0) throw new Error("Cannot make a node: must be root, to own namespaces and mounts");
  await needPrograms("unshare", "nsenter", "timeout", "ip", "nft", "bash");
  const dir = await mkdtemp(join(tmpdir(), `tenon-${name}-`));
  const flags = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
  const holder = execa("unshare", [...flags, "bash", "-c", setup(dir, reaps)], {
    reject: false,
    buffer: { stdout: false, stderr: true },
    stdin: "pipe",
  });
  const close = async () => {
    holder.stdin.end();
    const late = setTimeout(() => holder.kill("SIGKILL"), 10_000); // takes PID 1 along, and PID 1 everything
    const { isTerminated } = await holder;
    clearTimeout(late);
    await rm(dir, { recursive: true, force: true, maxRetries: 3 });
    for (const hierarchy of ["", ...(await readdir("/sys/fs/cgroup").catch(() => []))]) {
      await removeCgroup(join("/sys/fs/cgroup", hierarchy, basename(dir)));
    }
    if (isTerminated) throw new Error(`Cannot close node ${name}: had to be killed`);
  };
  try {
    await untilReady(holder, name);
    const node = nodeOf(name, dir, holder.pid!, close);
    if (uplink) {
      await node.exec("bash", ["-c", addUplink]);
      node.outside = netnsOf(node, "outside");
    }
    return node;
  } catch (error) {
    await close();
    throw error;
  }
}

/** Fails, naming what is missing, unless every program is in PATH. */
export async function needPrograms(...programs: string[]): Promise<void> {
  const found = await Promise.all(
    programs.map((program) =>
      Promise.any(path.split(":").map((folder) => access(join(folder, program), constants.X_OK))).then(
        () => true,
        () => false,
      ),
    ),
  );
  const missing = programs.filter((_, at) => !found[at]);
  if (missing.length) throw new Error(`Cannot run this test: programs missing: ${missing.join(", ")}`);
}

async function removeCgroup(group: string): Promise<void> {
  const within = await readdir(group, { withFileTypes: true }).catch(() => undefined); // most hierarchies lack it
  if (!within) return;
  for (const entry of within) if (entry.isDirectory()) await removeCgroup(join(group, entry.name));
  await rmdir(group);
}

function untilReady(
  holder: { stdout: NodeJS.ReadableStream; pid?: number | undefined } & Promise<any>,
  name: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`Cannot make node ${name}: not ready after 10 s`)), 10_000);
    holder.stdout.once("data", () => {
      clearTimeout(late);
      resolve();
    });
    holder.then((ended) => {
      clearTimeout(late);
      reject(new Error(`Cannot make node ${name}: ${ended.stderr || ended.message || ended}`));
    });
  });
}

function nodeOf(name: string, dir: string, pid: number, close: () => Promise<void>): Node {
  // The holder itself stays in the machine's process namespace; only its children are in the node's.
  const into = ["nsenter", "--net", "--mount", `--pid=/proc/${pid}/ns/pid_for_children`, `--target=${pid}`];
  const enter = (netns?: string) => [...into, "--", ...(netns ? ["nsenter", `--net=${netns}`, "--"] : [])];
  const node: Node = {
    name,
    dir,
    cgroup: `/${basename(dir)}`,
    enter,
    exec: execIn(enter()),
    execAt: (netns) => execIn(enter(netns)),
    path: (inside) => `/proc/${pid}/root${inside}`,
    async netns(pod) {
      await node.exec("ip", ["netns", "add", pod]);
      return netnsOf(node, pod);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
  return node;
}

function netnsOf(node: Node, name: string): Netns {
  const path = `/run/netns/${name}`;
  return {
    name,
    path,
    exec: node.execAt(path),
    async close() {
      await node.exec("ip", ["netns", "delete", name]);
    },
  };
}

function execIn([program, ...into]: string[]): Exec {
  return async (command, args = [], { input, env, cwd, timeout = 20_000, reject = true } = {}) => {
    // Ended from inside: were nsenter killed, its child would be left, for the machine's own PID 1 to reap some time.
    const bounded = ["timeout", "--signal=KILL", `${timeout / 1000}`, command, ...args];
    const started = performance.now();
    const ran = await execa(program!, [...into, ...bounded], {
      ...(input === undefined ? { stdin: "ignore" as const } : { input }),
      env: { PATH: path, ...env },
      extendEnv: false,
      cwd,
      timeout: timeout + 5_000,
      reject: false,
    });
    if (ran.timedOut || performance.now() - started > timeout)
      throw new Error(`Cannot finish ${command}: no end after ${timeout} ms`);
    const { stdout, stderr, exitCode = 255 } = ran;
    if (exitCode !== 0 && reject) {
      throw new Error(`Cannot run ${command} ${args.join(" ")}: exit code ${exitCode}: ${stderr || stdout}`);
    }
    return { stdout, stderr, exitCode };
  };
}
