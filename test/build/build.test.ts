// What is built and installed: by the Makefile's own targets.
import { expect, test } from "bun:test";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { execa } from "execa";
import { alignedToHugePages, HUGE, segments } from "../../scripts/elf.ts";
import { makeNode } from "../helpers/node.ts";
import { call, must } from "../helpers/plugin.ts";
import { snapshot } from "../helpers/snapshot.ts";

const make = (...args: string[]) => execa("make", ["--no-print-directory", ...args], { stdin: "ignore" });

async function version(path: string, before: string[] = []) {
  const [program, ...args] = [...before, path];
  const { stdout } = await execa(program!, args, { env: { CNI_COMMAND: "VERSION" }, stdin: "ignore" });
  return JSON.parse(stdout).cniVersion;
}

test("make install: one file with a link for each plugin, twice over a running one, and away again", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tenon-install-"));
  try {
    const plugins = (await readdir("plugins")).map((file) => file.replace(".ts", ""));
    for (let round = 0; round < 2; round++) {
      await make("install", `DESTDIR=${folder}`, "PREFIX=/usr/lib/cni");
      const bin = `${folder}/usr/lib/cni/bin`;
      expect((await readdir(bin)).sort()).toEqual([...plugins, "tenon-cni"].sort());
      const inodes = await Promise.all((await readdir(bin)).map(async (file) => (await stat(`${bin}/${file}`)).ino));
      expect(new Set(inodes).size).toBe(1);
      expect(await version(`${bin}/bridge`)).toBe("1.1.0");
      expect(await readdir(`${folder}/usr/bin`)).toEqual(["tenon"]);
      expect((await execa(`${folder}/usr/bin/tenon`, ["version"])).stdout).toStartWith("tenon ");
    }
    await make("install", `DESTDIR=${folder}/other`, "BINDIR=/usr/local/sbin");
    expect(await readdir(`${folder}/other/usr/local/sbin`)).toEqual(["tenon"]);
    await writeFile(`${folder}/other/usr/local/sbin/tenon`, "somebody else's");
    await make("uninstall", `DESTDIR=${folder}/other`, "BINDIR=/usr/local/sbin");
    expect(await readdir(`${folder}/other/usr/local/sbin`)).toEqual(["tenon"]);
    await make("uninstall", `DESTDIR=${folder}`, "PREFIX=/usr/lib/cni");
    expect([await readdir(`${folder}/usr/lib/cni/bin`), await readdir(`${folder}/usr/bin`)]).toEqual([[], []]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("the executable says what it can be called as, and takes nothing from the directory it is started in", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tenon-cwd-"));
  try {
    await Bun.write(`${folder}/.env`, "CNI_COMMAND=VERSION\n");
    await Bun.write(`${folder}/bunfig.toml`, 'preload = ["./evil.ts"]\n');
    await Bun.write(`${folder}/evil.ts`, 'console.log("evil");\n');
    const options = { cwd: folder, reject: false, stdin: "ignore", extendEnv: false } as const;
    const about = await execa(resolve("build/bin/bridge"), [], options);
    expect([about.exitCode, about.stdout]).toEqual([0, ""]);
    expect(about.stderr).toContain("CNI protocol versions supported: 0.1.0");
    const nameless = await execa(resolve("build/bin/tenon-cni"), [], options);
    expect(nameless.exitCode).toBe(1);
    expect(JSON.parse(nameless.stdout).msg).toContain("bridge");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("the image lies in its file so that huge pages can map it, and nothing but ELF is laid out", async () => {
  const loaded = segments(await readFile("build/bin/tenon-cni")).filter(({ type }) => type === 1);
  expect(loaded.length).toBeGreaterThan(2);
  for (const { offset, address } of loaded) expect((address - offset) % HUGE).toBe(0);
  const [before, after] = [await readFile(process.execPath), alignedToHugePages(await readFile(process.execPath))];
  for (const [index, { offset, address, size }] of segments(after).entries()) {
    const was = segments(before)[index]!;
    expect([address, size]).toEqual([was.address, was.size]);
    const headers = Math.min(size, offset === was.offset ? 1024 : 0); // what tells of the move is what differs
    const content = after.subarray(offset + headers, offset + size);
    expect(before.subarray(was.offset + headers, was.offset + size).equals(content)).toBe(true);
  }
  expect(() => alignedToHugePages(new TextEncoder().encode("#!/bin/sh\n".repeat(9)))).toThrow("no ELF file");
});

test("make standalone: a plugin alone, which executes its IPAM plugin", async () => {
  await make("standalone", "PLUGIN=bridge");
  await make("standalone", "PLUGIN=host-local");
  await using node = await makeNode("alone");
  const pod = await node.netns("pod");
  const conf = {
    cniVersion: "1.1.0",
    name: "alone",
    type: "bridge",
    ipam: { type: "host-local", subnet: "10.1.0.0/16" },
  };
  const at = { netns: pod.path, bin: resolve("build/standalone") };
  const result = await must(node, "ADD", conf, at);
  expect(result.ips[0].address).toBe("10.1.0.2/16");
  await must(node, "CHECK", { ...conf, prevResult: result }, at);
  await must(node, "DEL", conf, at);
});

for (const runtime of ["bun", "deno"]) {
  test(`the sources run under ${runtime}, and leave nothing`, async () => {
    await using node = await makeNode(runtime);
    const pod = await node.netns("pod");
    const bin = `${node.dir}/bin`;
    const run = runtime === "deno" ? "deno run -A" : "bun";
    await mkdir(bin);
    // What a plugin executable is to a runtime: a file on CNI_PATH.
    for (const name of await readdir("plugins")) {
      const script = `#!/bin/sh\nexec ${resolve("node_modules/.bin")}/${run} ${resolve("plugins", name)}\n`;
      await writeFile(`${bin}/${name.replace(".ts", "")}`, script, { mode: 0o755 });
    }
    const conf = {
      cniVersion: "1.1.0",
      name: "source",
      type: "bridge",
      isDefaultGateway: true,
      ipMasq: true,
      macspoofchk: true,
      ipam: { type: "host-local", ranges: [[{ subnet: "10.1.0.0/16" }], [{ subnet: "fd00:1::/64" }]] },
    };
    const env = { HOME: node.dir, DENO_NO_UPDATE_CHECK: "1", DENO_DIR: `${node.dir}/deno` };
    const at = { netns: pod.path, bin, env };
    const result = await must(node, "ADD", conf, at);
    await pod.exec("ping", ["-c1", "-W1", "10.1.0.1"]);
    await must(node, "CHECK", { ...conf, prevResult: result }, at);
    await must(node, "STATUS", conf, at);
    await must(node, "DEL", { ...conf, prevResult: result }, at);
    await must(node, "GC", { ...conf, "cni.dev/valid-attachments": [] }, at);
    expect((await snapshot(node)).filter((line) => /"kind":"veth"|10\.1\.0\.2|nft/.test(line))).toEqual([]);
    expect((await call(node, "ADD", { ...conf, mtu: "x" }, at)).json.msg).toContain("mtu");
  });
}

test("make cross: the image for another machine runs there", async () => {
  await execa(process.execPath, ["scripts/cross.ts", "linux-aarch64"], { stdin: "ignore" });
  const image = resolve("build/cross/linux-aarch64/bridge");
  const machine = (await readFile(image)).readUInt16LE(18);
  expect(machine).toBe(183); // EM_AARCH64
  expect(await version(image, ["qemu-aarch64", "-0", "bridge", "-L", "/usr/aarch64-linux-gnu"])).toBe("1.1.0");
});
