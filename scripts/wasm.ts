#!/usr/bin/env bun
// Compiles wasm/*.ts with AssemblyScript into build/wasm/*.ts: modules that hold the binary as base64.
// Text within a module is the one form that works alike under Bun, under Deno and in a compiled executable.

import { basename } from "node:path";
import asc from "assemblyscript/asc";
import { Glob } from "bun";

const root = `${import.meta.dir}/..`;
/** In pages of 64 KB: a /16 fits without growing; 64 MB at most, a /8 31 times, so that no address overflows. */
const memory = ["--initialMemory", "1", "--maximumMemory", "1024"];

/** The binary of one source file, named from the root. */
async function compile(path: string): Promise<Uint8Array> {
  const written: unknown[] = [];
  const { error, stderr } = await asc.main(
    [path, "--baseDir", root, "-o", "binary", "-O3", "--converge", "--runtime", "stub", "--noAssert", ...memory],
    { writeFile: (_name, contents) => void written.push(contents) },
  );
  const [binary] = written;
  if (!(binary instanceof Uint8Array)) throw new Error(`Cannot compile ${path}: ${stderr}`, { cause: error });
  return binary;
}

if (import.meta.main) {
  for (const path of new Glob("wasm/*.ts").scanSync(root)) {
    const name = basename(path, ".ts");
    const bytes = await compile(path);
    const text = `// Generated from ${path} by scripts/wasm.ts.\nexport const ${name} = "${bytes.toBase64()}";\n`;
    await Bun.write(`${root}/build/wasm/${name}.ts`, text);
    console.log(`build/wasm/${name}.ts: ${bytes.length} bytes of WebAssembly`);
  }
}
