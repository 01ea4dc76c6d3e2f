// Provides a containerd that speaks 1.1.0 of the specification, as 2.x does: Debian testing's, unpacked under
// build/containerd/<version>. Run alone it fetches if need be and says which one is used.
import { fromTesting, type Unpacked } from "./archive.ts";

/** The folder with containerd, its shim and ctr; fetched at first use. Throws if it cannot be had. */
export function containerd(): Unpacked {
  try {
    return fromTesting("containerd", "/usr/bin", "containerd");
  } catch (cause) {
    const message = (cause as Error).message;
    throw new Error(`Cannot fetch containerd with \`bun scripts/containerd.ts\`: ${message}`, { cause });
  }
}

if (import.meta.main) {
  const { dir, version } = containerd();
  console.log(`containerd ${version} in ${dir}`);
}
