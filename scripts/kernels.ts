#!/usr/bin/env bun
// Provides Debian's 5.10 and 6.1 kernels for tests that boot them: build/kernels/<version>-<fingerprint>/ with vmlinuz
// and lib/modules/<release>/. The cloud flavour: small, ext4 and the serial console are built in, and it has what is
// listed in `features`. Run alone it fetches what is missing.
// File formats: modules.dep(5), kernel/Documentation/kbuild/modules.rst.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { Glob } from "bun";
import { archives, download, keep, run } from "./archive.ts";

export type KernelVersion = "5.10" | "6.1";

/** `modules` is a folder that holds lib/modules/<release>; `boot` are the files below it that a virtio disk needs. */
export type Kernel = { version: KernelVersion; release: string; vmlinuz: string; modules: string; boot: string[] };

const suites: Record<KernelVersion, string> = { "5.10": "bullseye", "6.1": "bookworm" };
const home = resolve(import.meta.dir, "../build/kernels");

const features = [
  "BRIDGE_VLAN_FILTERING",
  "VLAN_8021Q",
  "IPVLAN",
  "DUMMY",
  "NET_VRF",
  "IP_SCTP",
  "NF_TABLES",
  "EXT4_FS",
];

/** The modules that make virtio disks; each with what it depends on. */
const disk = "kernel/drivers/{block/virtio_blk,virtio/virtio_pci}.ko";
const wanted = [
  disk,
  "kernel/net/{802,8021q,bridge,ipv4,ipv6,llc,netfilter,packet,sched,sctp,xfrm}/**/*.ko",
  "kernel/drivers/net/**/{bond,dummy,geneve,ifb,ipvlan,ipvtap,macvlan,macvtap,tap,tun,veth,vrf,vxlan,wireguard}*.ko",
];

/** A change of the lists above makes a new folder, so that no old one is used by mistake. */
const fingerprint = Bun.hash.crc32(JSON.stringify([features, wanted])).toString(16);

/** The kernel, fetched at first use. Throws when it cannot be had, with what was tried. */
export function kernel(version: KernelVersion, say: (line: string) => void = () => {}): Kernel {
  const dir = join(home, `${version}-${fingerprint}`);
  if (!existsSync(dir)) fetchKernel(version, dir, say);
  const release = readdirSync(join(dir, "lib/modules"))[0]!;
  const base = `lib/modules/${release}`;
  const dependencies = readDependencies(join(dir, base));
  const boot = [`${base}/modules.dep`, ...closure(dependencies, [disk]).map((path) => `${base}/${path}`)];
  return { version, release, vmlinuz: join(dir, "vmlinuz"), modules: dir, boot };
}

/** Prepares it beside the final name, then renames: two at once, or a killed one, leave nothing half done. */
function fetchKernel(version: KernelVersion, dir: string, say: (line: string) => void): void {
  const work = join(home, `.fetch-${version}-${process.pid}`);
  try {
    const name = { prefix: `linux-image-${version}.0-`, choose: newest };
    const tell = (line: string) => say(`kernel ${version}: ${line}`);
    const deb = download({ sources: sources(suites[version]), name, architecture: "amd64", say: tell }, work);
    tell(`unpacking ${basename(deb)}`);
    run("dpkg-deb", "--extract", deb, join(work, "root"));
    const release = readdirSync(join(work, "root/lib/modules"))[0]!;
    const config = readFileSync(join(work, `root/boot/config-${release}`), "utf8");
    const missing = features.filter((name) => !new RegExp(`^CONFIG_${name}=[ym]$`, "m").test(config));
    if (missing.length) throw new Error(`built without ${missing.join(", ")}`);
    keepWanted(join(work, "root"), join(work, "kept"), release);
    copyFileSync(join(work, `root/boot/vmlinuz-${release}`), join(work, "kept/vmlinuz"));
    keep(join(work, "kept"), dir);
  } catch (cause) {
    const message = (cause as Error).message;
    throw new Error(`Cannot fetch kernel ${version} with \`bun scripts/kernels.ts\`: ${message}`, { cause });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** "linux-image-5.10.0-46-cloud-amd64": the one with the highest number, of the signed ones. */
function newest(names: string[]): string | undefined {
  const abi = (name: string) => Number(name.match(/\.0-(\d+)-cloud-amd64$/)?.[1] ?? 0);
  return names
    .filter(abi)
    .sort((a, b) => abi(a) - abi(b))
    .at(-1);
}

/** The security archive first, as it has the newest. */
function sources(suite: string): string[] {
  const security = archives("debian-security").map((uri) => `${uri} ${suite}-security`);
  return [...security, ...archives("debian").map((uri) => `${uri} ${suite}`)];
}

/** Copies the wanted modules and what they depend on, and indexes both trees as depmod does at installation. */
function keepWanted(from: string, to: string, release: string): void {
  const base = `lib/modules/${release}`;
  run("busybox", "depmod", "-b", from, release);
  const indexes = ["modules.builtin", "modules.order"];
  for (const path of [...indexes, ...closure(readDependencies(join(from, base)), wanted)]) {
    mkdirSync(dirname(join(to, base, path)), { recursive: true });
    copyFileSync(join(from, base, path), join(to, base, path));
  }
  run("busybox", "depmod", "-b", to, release);
}

/** modules.dep: "path: path path", with all that is needed, not only the nearest. */
function readDependencies(base: string): Map<string, string[]> {
  const lines = readFileSync(join(base, "modules.dep"), "utf8").trim().split("\n");
  return new Map(lines.map((line) => [line.split(":")[0]!, line.split(":")[1]!.split(" ").filter(Boolean)]));
}

function closure(dependencies: Map<string, string[]>, patterns: string[]): string[] {
  const globs = patterns.map((pattern) => new Glob(pattern));
  const chosen = [...dependencies].filter(([path]) => globs.some((glob) => glob.match(path)));
  return [...new Set(chosen.flatMap(([path, needs]) => [path, ...needs]))];
}

if (import.meta.main) {
  for (const version of Object.keys(suites) as KernelVersion[]) {
    const { release, modules } = kernel(version, console.log);
    console.log(`kernel ${version}: ${release} in ${modules}`);
  }
}
