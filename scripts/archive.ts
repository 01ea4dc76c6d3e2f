// Debian's packages of other suites than this machine's: downloaded and unpacked, nothing installed. apt works in folders of
// its own, on the archives that this machine's own lists name, and checks their signatures.
// Whoever works in a private network namespace asks before entering it: from there no archive can be reached.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** The archives of this name that apt knows here, "debian" or "debian-security"; none on other distributions. */
export function archives(name: "debian" | "debian-security"): string[] {
  const known = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").split("\n");
  const bases = new Set(known.map((uri) => uri.trim().replace(/\/$/, "")));
  return [...bases].filter((uri) => uri.endsWith(`/${name}`));
}

export interface Download {
  /** "<archive> <suite>", tried one after the other. */
  sources: readonly string[];
  /** The package's name, or how those that are wanted begin and which of them it is. */
  name: string | { prefix: string; choose(names: string[]): string | undefined };
  /** Default: this machine's. */
  architecture?: string;
  /** Told of each step. */
  say?(line: string): void;
}

/** Downloads a package into the folder `work`, which it makes anew; answers the file. Throws with what was tried. */
export function download({ sources, name, architecture, say = () => {} }: Download, work: string): string {
  const tried: string[] = [];
  for (const source of sources) {
    say(`looking in ${source}`);
    rmSync(work, { recursive: true, force: true });
    for (const folder of ["lists/partial", "cache/archives/partial"])
      mkdirSync(join(work, folder), { recursive: true });
    const only = architecture ? `arch=${architecture} ` : "";
    writeFileSync(join(work, "sources.list"), `deb [${only}signed-by=${keyring}] ${source} main\n`);
    const options = [
      `Dir::Etc::sourcelist=${work}/sources.list`,
      "Dir::Etc::sourceparts=-",
      `Dir::State::lists=${work}/lists`,
      "Dir::State::status=/dev/null",
      `Dir::Cache=${work}/cache`,
      "Acquire::Languages=none",
      "Acquire::Retries=1",
      "Acquire::Check-Valid-Until=false", // a suite that gets no more updates; the signature still counts
      ...(architecture ? [`APT::Architecture=${architecture}`] : []),
      "APT::Sandbox::User=root", // its own user may not write below build/
    ].flatMap((option) => ["-o", option]);
    try {
      runIn(work, "apt-get", "-q", ...options, "update");
      const found =
        typeof name === "string"
          ? name
          : name.choose(runIn(work, "apt-cache", ...options, "pkgnames", name.prefix).split("\n"));
      if (!found) throw new Error("no such package");
      say(`downloading ${found}`);
      runIn(work, "apt-get", "-q", ...options, "download", found);
      return join(work, readdirSync(work).find((file) => file.endsWith(".deb"))!);
    } catch (error) {
      tried.push(`${source}: ${(error as Error).message}`);
    }
  }
  throw new Error(tried.join("; ") || "no Debian archive in this machine's apt lists");
}

/** A folder of a package in Debian testing, and its version. */
export interface Unpacked {
  dir: string;
  version: string;
}

/**
 * A package of Debian testing, its `folder` unpacked as build/<kept>/<version>; fetched where no earlier run did. Two at
 * once, or a killed one, leave nothing half done.
 */
export function fromTesting(name: string, folder: string, kept: string): Unpacked {
  const home = resolve(import.meta.dir, "../build", kept);
  const there = newestIn(home);
  if (there) return there;
  const work = join(home, `.fetch-${process.pid}`);
  try {
    const deb = download({ sources: archives("debian").map((uri) => `${uri} testing`), name }, work);
    const version = upstream(run("dpkg-deb", "--field", deb, "Version"));
    run("dpkg-deb", "--extract", deb, join(work, "root"));
    keep(join(work, "root", folder), join(home, version));
    return newestIn(home)!;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function newestIn(home: string): Unpacked | undefined {
  const names = existsSync(home) ? readdirSync(home).filter((name) => /^\d/.test(name)) : [];
  const version = names.sort((a, b) => Bun.semver.order(a, b)).at(-1);
  return version ? { dir: join(home, version), version } : undefined;
}

/** Puts a finished folder at its place, unless another run was quicker. */
export function keep(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!existsSync(to)) throw error;
  }
}

/** "1:1.9.1+ds1-2+b3" is the upstream version 1.9.1. */
export function upstream(version: string): string {
  const text = version.trim().replace(/^\d+:/, "");
  return text.match(/^[\d.]+\d/)?.[0] ?? text;
}

/** Runs a program and answers what it prints. */
export function run(...command: string[]): string {
  return runIn(undefined, ...command);
}

function runIn(cwd: string | undefined, ...command: string[]): string {
  if (!Bun.which(command[0]!)) {
    throw new Error(`${command[0]} is not installed: apt-get install apt dpkg busybox-static`);
  }
  const { success, stdout, stderr } = Bun.spawnSync(command, { cwd, stdout: "pipe", stderr: "pipe" });
  if (!success) throw new Error(`${command[0]} failed: ${stderr.toString().trim().split("\n").at(-1)}`);
  return stdout.toString();
}
