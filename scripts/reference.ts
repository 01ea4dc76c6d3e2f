// Provides the reference plugins that tests and benchmarks compare with: Debian testing's package
// containernetworking-plugins, unpacked under build/reference/<version>, else the one installed in /usr/lib/cni.
// Run alone it fetches if need be and says which one is used.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fromTesting, run, type Unpacked, upstream } from "./archive.ts";

const PACKAGE = "containernetworking-plugins";
const INSTALLED = "/usr/lib/cni";

let found: Unpacked | undefined;

/** The folder with the reference executables and their version; fetched at first use. Throws if there is none. */
export function referenceDir(): Unpacked {
  found ??= fetched() ?? installed();
  if (!found) throw new Error(`Cannot find the reference plugins: no package fetched, nothing in ${INSTALLED}`);
  return found;
}

function fetched(): Unpacked | undefined {
  try {
    return fromTesting(PACKAGE, INSTALLED, "reference");
  } catch (cause) {
    process.stderr.write(
      `Cannot fetch the reference plugins, the installed ones are used: ${(cause as Error).message}\n`,
    );
    return undefined;
  }
}

function installed(): Unpacked | undefined {
  if (!existsSync(join(INSTALLED, "bridge"))) return undefined;
  const shown = Bun.which("dpkg-query") ? run("dpkg-query", "--show", PACKAGE) : ""; // "name<TAB>version"
  return { dir: INSTALLED, version: upstream(shown.split("\t")[1] ?? "unknown") };
}

if (import.meta.main) {
  const { dir, version } = referenceDir();
  console.log(`reference plugins ${version} in ${dir}`);
}
