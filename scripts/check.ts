// The rules of the house that no compiler knows: which way imports run, that each source file has its test, that the
// plugin image holds nothing of the command line and no package, and that the README names no target that is missing.
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { Glob } from "bun";

const complaints: string[] = [];
const complain = (text: string) => complaints.push(text);
const files = (pattern: string) => [...new Glob(pattern).scanSync(".")].sort();

/** What the files below a folder may import from, besides their own folder. */
const rules: [folder: string, allowed: string[]][] = [
  ["plugins", ["lib/cni", "lib/ip", "lib/ipam", "lib/nftables", "lib/peers", "lib/sys/list.ts"]],
  ["lib/cni", ["lib/ip", "lib/ipam", "lib/nftables", "lib/peers", "lib/netlink", "lib/netns", "lib/sys", "#ffi"]],
  ["lib/ip", ["lib/cni", "lib/nftables", "lib/netlink", "lib/netns", "lib/sys"]],
  ["lib/ipam", ["lib/cni", "lib/netlink", "lib/netns", "lib/sys", "build/wasm"]],
  ["lib/nftables", ["lib/cni", "lib/netlink", "lib/netns", "lib/sys"]],
  ["lib/peers", ["lib/cni", "lib/ip", "lib/netlink", "lib/netns", "lib/sys"]],
  ["lib/netns", ["lib/netlink", "lib/sys"]],
  ["lib/netlink", ["lib/sys"]],
  ["lib/sys", ["#ffi"]],
  // The only place that may use packages.
  [
    "cli",
    [
      "lib",
      "build/plugins.ts",
      "package.json",
      "zod",
      "yaml",
      "prom-client",
      "etcd3",
      "@grpc/grpc-js",
      "protobufjs",
      "execa",
      "node:",
      "bun",
    ],
  ],
];

for (const [folder, allowed] of rules) {
  for (const file of files(`${folder}/**/*.ts`)) {
    const ffi = file.startsWith("lib/sys/ffi-");
    for (const [, name] of readFileSync(file, "utf8").matchAll(/^(?:import|export)\b[^;]*?\bfrom "([^"]+)";/gms)) {
      const target = name!.startsWith(".") ? normalize(join(dirname(file), name!)) : name!;
      const within = [folder, ...allowed].some(
        (place) => target === place || target.startsWith(place.endsWith(":") ? place : `${place}/`),
      );
      const sibling = folder === "plugins" && target.startsWith("plugins/");
      if (ffi && !name!.startsWith(".")) continue; // the two back ends stand on their runtimes
      if (!within || sibling) complain(`${file} must not import ${name}`);
      if (name!.startsWith(".") && !/\.(ts|json)$/.test(name!))
        complain(`${file} imports ${name} without its extension`);
    }
  }
}

for (const file of files("{lib,plugins,cli}/**/*.ts")) {
  const mirror = file.startsWith("lib/sys/ffi-") ? "lib/sys/ffi.ts" : file;
  const test = `test/${mirror.replace(/\.ts$/, ".test.ts")}`;
  if (files(test).length === 0) complain(`${file} has no ${test}`);
}

for (const file of files("test/**/*.ts")) {
  if (/\b(test|it|describe)\.(skip|todo|only|skipIf|if)\b/.test(readFileSync(file, "utf8"))) {
    complain(`${file} leaves tests out`);
  }
}

const bundle = await Bun.build({
  entrypoints: files("plugins/*.ts"),
  target: "bun",
  metafile: true,
} as any);
for (const input of Object.keys((bundle as any).metafile?.inputs ?? {})) {
  if (/node_modules|^cli\//.test(input)) complain(`The plugin image holds ${input}`);
}
if (!bundle.success || !(bundle as any).metafile) complain("The plugins cannot be bundled");

const targets = new Set(readFileSync("Makefile", "utf8").match(/^[a-z-]+(?=:)/gm));
for (const [, target] of readFileSync("README.md", "utf8").matchAll(/\bmake ([a-z-]+)/g)) {
  if (!targets.has(target!) && !target!.startsWith("test-"))
    complain(`README.md names "make ${target}", which is no target`);
}

for (const text of complaints) process.stderr.write(`${text}\n`);
if (complaints.length > 0) process.exit(1);
