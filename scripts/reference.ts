// Provides the reference plugins that tests and benchmarks compare with: Debian testing's package
// containernetworking-plugins, unpacked under build/reference/<version>, else the one installed in /usr/lib/cni.
// Run alone it fetches if need be and says which one is used. Nothing is installed: apt works in folders of its own.
// Whoever works in a private network namespace asks before entering it: from there no archive can be reached.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const PACKAGE = "containernetworking-plugins";
const INSTALLED = "/usr/lib/cni";
const HOME = resolve(import.meta.dir, "../build/reference");

export type Reference = { dir: string; version: string };

let found: Reference | undefined;

/** The folder with the reference executables and their version; fetched at first use. Throws if there is none. */
export function referenceDir(): Reference {
  found ??= unpacked() ?? fetched() ?? installed();
  if (!found) throw new Error(`Cannot find the reference plugins: no package fetched, nothing in ${INSTALLED}`);
  return found;
}

/** The newest one unpacked by an earlier run. */
function unpacked(): Reference | undefined {
  if (!existsSync(HOME)) return undefined;
  const versions = readdirSync(HOME).filter((name) => /^\d/.test(name) && existsSync(join(HOME, name, "bridge")));
  const version = versions.sort((a, b) => Bun.semver.order(a, b)).at(-1);
  return version ? { dir: join(HOME, version), version } : undefined;
}

function installed(): Reference | undefined {
  if (!existsSync(join(INSTALLED, "bridge"))) return undefined;
  const { stdout } = Bun.spawnSync(["dpkg-query", "--show", PACKAGE], { stderr: "ignore" }); // "name<TAB>version"
  return { dir: INSTALLED, version: upstream(stdout.toString().split("\t")[1] ?? "unknown") };
}

/** Downloads and unpacks beside the final name, then renames: two at once, or a killed one, leave nothing half done. */
function fetched(): Reference | undefined {
  const work = join(HOME, `.fetch-${process.pid}`);
  try {
    const source = testingSource();
    if (!source) return undefined;
    mkdirSync(join(work, "lists/partial"), { recursive: true });
    mkdirSync(join(work, "cache/archives/partial"), { recursive: true });
    writeFileSync(join(work, "testing.list"), source);
    const options = [
      `Dir::Etc::sourcelist=${work}/testing.list`,
      "Dir::Etc::sourceparts=-",
      `Dir::State::lists=${work}/lists`,
      `Dir::Cache=${work}/cache`,
      "Acquire::Languages=none",
      "Acquire::Retries=1",
      "APT::Sandbox::User=root", // its own user may not write below build/
    ].flatMap((option) => ["-o", option]);
    run("apt-get", "-q", ...options, "update");
    runIn(work, "apt-get", "-q", ...options, "download", PACKAGE);
    const deb = readdirSync(work).find((name) => name.endsWith(".deb"));
    if (!deb) return undefined;
    const version = upstream(run("dpkg-deb", "--field", join(work, deb), "Version"));
    run("dpkg-deb", "--extract", join(work, deb), join(work, "root"));
    const dir = join(HOME, version);
    if (!existsSync(dir)) renameSync(join(work, "root", INSTALLED), dir);
    return unpacked();
  } catch (cause) {
    process.stderr.write(
      `Cannot fetch the reference plugins, the installed ones are used: ${(cause as Error).message}\n`,
    );
    return undefined;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** A source line for testing, with the archive that this machine's own list names; none on other distributions. */
function testingSource(): string | undefined {
  const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
  const uris = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").split("\n");
  const uri = uris.find((line) => /\/debian\/?$/.test(line));
  return uri && existsSync(keyring) ? `deb [signed-by=${keyring}] ${uri} testing main\n` : undefined;
}

/** "1:1.9.1+ds1-2+b3" is the upstream version 1.9.1. */
function upstream(version: string): string {
  return (
    version
      .trim()
      .replace(/^\d+:/, "")
      .match(/^[\d.]+\d/)?.[0] ?? version.trim()
  );
}

function run(...command: string[]): string {
  return runIn(undefined, ...command);
}

function runIn(cwd: string | undefined, ...command: string[]): string {
  const { success, stdout, stderr } = Bun.spawnSync(command, { cwd, stdout: "pipe", stderr: "pipe" });
  if (!success) throw new Error(`${command[0]} failed: ${stderr.toString().trim().split("\n").at(-1)}`);
  return stdout.toString();
}

if (import.meta.main) {
  const { dir, version } = referenceDir();
  console.log(`reference plugins ${version} in ${dir}`);
}
