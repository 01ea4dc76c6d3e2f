// Runs a shell script as root on another kernel: qemu's software processor, a Debian kernel (scripts/kernels.ts), a disk
// with busybox, ip, bridge, nft and the files of the test. See qemu-system(1), mke2fs(8) -d, and
// kernel/Documentation/filesystems/ramfs-rootfs-initramfs.rst.
//
//   const { exitCode, output } = await runInVm({
//     kernel: "5.10",
//     files: { "/opt/cni/bin": "build/bin" },   // guest path: a file or folder here; links are kept
//     script: "ip -j link; /opt/cni/bin/bridge < /dev/null",
//   });
//
// Booting takes 2 to 3 s: put many checks into one script. A disk, not an initramfs: that does not boot with an executable
// of 100 MB in 1 GB of memory, and plugins shall see a root and a file system like those of a real node. Modules are
// loaded by the kernel itself when something asks for them.
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { type Kernel, type KernelVersion, kernel } from "../../scripts/kernels.ts";

export type VmRun = {
  kernel: KernelVersion;
  /** For this machine's sh; PATH has ip, bridge, nft and busybox' applets; the working folder is /. */
  script: string;
  /** Guest path: path here, of a file or a folder. Shared libraries of executables come along. */
  files?: Record<string, string>;
  /** From switching on to switching off; 120 unless told. The machine may be slow and busy. */
  timeoutSeconds?: number;
};

/** `output` is what the script wrote to its standard output and error, nothing added. */
/** Shell: a namespace `outside` with 192.0.2.254 and 2001:db8:2::fe, joined by `uplink`, which has the .1 and ::1. */
export const joinOutside = `
  ip netns add outside
  ip link add uplink type veth peer name eth0 netns outside
  for address in 192.0.2.1/24 2001:db8:2::1/64; do ip addr add $address dev uplink; done
  ip link set uplink up
  for address in 192.0.2.254/24 2001:db8:2::fe/64; do ip -n outside addr add $address dev eth0; done
  ip -n outside link set eth0 up
`.trim();

export type VmResult = { exitCode: number; output: string };

// Whatever runs programs by name is this machine's: busybox' own prefer its applets to what is in PATH, also its poor ip.
const runners = ["sh", "env", "nsenter", "setsid", "timeout", "unshare", "xargs"];
const programs = [...runners, "ip", "bridge", "nft"];
const install = "apt-get install qemu-system-x86 busybox-static cpio e2fsprogs iproute2 nftables";

// The first stage only finds the disk: its drivers are modules.
const initrdInit = `#!/bin/busybox sh
/bin/busybox mkdir /proc /dev /disk
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox modprobe -a virtio_pci virtio_blk
/bin/busybox mount -t ext4 /dev/vda /disk
exec /bin/busybox switch_root /disk /init
`;

// The output goes through a pipe, as a plugin's does; a process that keeps it open holds the machine up until the time
// limit, as it would hold up a container runtime. The exit code has a serial port of its own: no marker in the output.
const diskInit = `#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin 2> /dev/null # sh is there
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs tmp /tmp
ln -s /proc/self/fd /dev/fd
for n in 0,stdin 1,stdout 2,stderr; do ln -s /proc/self/fd/\${n%,*} /dev/\${n#*,}; done
ip link set lo up
stty -F /dev/ttyS1 raw
{ /bin/sh /script < /dev/null; echo $? > /run/vm-exit-code; } 2>&1 | cat > /dev/ttyS1
cat /run/vm-exit-code > /dev/ttyS2
reboot -f
`;

/** Boots, runs the script, switches off. Throws if the machine cannot be had, crashes or takes too long. */
export async function runInVm({ kernel: version, script, files = {}, timeoutSeconds = 120 }: VmRun): Promise<VmResult> {
  for (const program of ["qemu-system-x86_64", "cpio", "mke2fs", ...programs]) which(program);
  const chosen = kernel(version);
  const dir = await mkdtemp(join(tmpdir(), "tenon-vm-"));
  const read = (name: string) => readFile(join(dir, name), "utf8").catch(() => "");
  try {
    await Promise.all([makeInitrd(dir, chosen), makeDisk(dir, chosen, files, script)]);
    // timeout(1) also ends the machine when this process is killed.
    const command = ["--kill-after=5", String(timeoutSeconds), "qemu-system-x86_64", ...machine(dir, chosen)];
    const { exitCode, stderr } = await execa("timeout", command, { reject: false, stdin: "ignore" });
    const [output, code, console] = await Promise.all(["output", "code", "console"].map(read));
    if (/^\d+\s*$/.test(code!)) return { exitCode: Number(code), output: output! };
    const why = exitCode === 124 || exitCode === 137 ? `not done after ${timeoutSeconds} s` : "the machine stopped";
    const seen = [stderr, console!.slice(-2000), output!.slice(-2000)].filter((text) => text.trim()).join("\n--\n");
    throw new Error(`Cannot run the script on kernel ${version}: ${why}\n${seen}`);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Runs several scripts, one after the other, in one machine; each in a shell of its own that ends at the first error. */
export async function runStepsInVm<Step extends string>(
  run: Omit<VmRun, "script"> & { steps: Record<Step, string> },
): Promise<Record<Step, VmResult>> {
  const steps = Object.entries(run.steps) as [Step, string][];
  const mark = `@${crypto.randomUUID()} `;
  const script = steps.map(([, text]) => `(set -e\n${text}\n)\necho "${mark}$?"`).join("\n");
  const { output: all } = await runInVm({ ...run, script });
  let [output, ...rest] = all.split(mark);
  const results = steps.map(([step]) => {
    const next = rest.shift();
    if (next === undefined) throw new Error(`Cannot find the end of step "${step}": ${output}`);
    const result = { exitCode: Number(next.split("\n")[0]), output };
    output = next.slice(next.indexOf("\n") + 1);
    return [step, result];
  });
  return Object.fromEntries(results);
}

// Two processors, so that what runs in parallel does. Serial ports: kernel messages, the script's output, its exit code.
// no_timer_check: 5.10 waits so many turns of a loop for the first ticks, which come late where this machine is busy, and
// panics (kernel/Documentation/admin-guide/kernel-parameters.txt).
function machine(dir: string, { vmlinuz }: Kernel): string[] {
  return [
    ...["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024"],
    ...["-nodefaults", "-display", "none", "-no-reboot"],
    ...["-kernel", vmlinuz, "-initrd", join(dir, "initrd"), "-append", "console=ttyS0 panic=-1 quiet no_timer_check"],
    ...["-drive", `file=${join(dir, "disk")},format=raw,if=virtio,cache=unsafe`],
    ...["console", "output", "code"].flatMap((name) => ["-serial", `file:${join(dir, name)}`]),
  ];
}

async function makeInitrd(dir: string, { modules, boot }: Kernel): Promise<void> {
  const root = join(dir, "initrd.d");
  await put(which("busybox"), join(root, "bin/busybox"));
  for (const path of boot) await put(join(modules, path), join(root, path));
  await writeFile(join(root, "init"), initrdInit, { mode: 0o755 });
  await execa("sh", ["-c", "find . | cpio --quiet -o -H newc > ../initrd"], { cwd: root });
}

async function makeDisk(dir: string, { modules }: Kernel, files: Record<string, string>, script: string) {
  const root = join(dir, "disk.d");
  for (const folder of ["bin", "sbin", "proc", "sys", "dev", "run", "tmp", "root", "etc", "var/lib"]) {
    await mkdir(join(root, folder), { recursive: true });
  }
  await put(which("busybox"), join(root, "bin/busybox"));
  await symlink("/bin/busybox", join(root, "sbin/modprobe")); // the path that the kernel calls
  await put(join(modules, "lib"), join(root, "lib"));
  await symlink("/usr/sbin/sh", join(root, "bin/sh"));
  const all = [...programs.map((name) => [`/usr/sbin/${name}`, which(name)] as const), ...Object.entries(files)];
  for (const [guest, host] of all) await put(host, join(root, guest));
  for (const library of await libraries(all.map(([, host]) => host))) await put(library, join(root, library));
  await writeFile(join(root, "init"), diskInit, { mode: 0o755 });
  await writeFile(join(root, "script"), script);
  const { stdout } = await execa("du", ["-sm", root]);
  const size = `${Number(stdout.split("\t")[0]) + 256}M`;
  await execa("mke2fs", ["-q", "-t", "ext4", "-b", "4096", "-O", "^has_journal", "-d", root, join(dir, "disk"), size]);
  await rm(root, { recursive: true });
}

/** A copy; of a folder with cp(1), which keeps the links within it, hard ones too. */
async function put(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  const folder = (await stat(from)).isDirectory();
  if (folder) await execa("cp", ["-a", "--reflink=auto", `${from}/.`, to]);
  else await copyFile(from, to);
}

/** The loader and the shared libraries of these files, or of the files within these folders. */
async function libraries(paths: string[]): Promise<Set<string>> {
  const found = new Set<string>();
  for (const path of paths) {
    const within = (await stat(path)).isDirectory();
    for (const file of within ? (await readdir(path)).map((name) => join(path, name)) : [path]) {
      const { stdout } = await execa("ldd", [file], { reject: false }); // fails for what is static or no program
      for (const [, library] of stdout.matchAll(/(?:=> |^\t)(\/\S+) \(0x/gm)) found.add(library!);
    }
  }
  return found;
}

function which(program: string): string {
  const path = Bun.which(program);
  if (!path) throw new Error(`Cannot boot another kernel: ${program} is missing: ${install}`);
  return path;
}
