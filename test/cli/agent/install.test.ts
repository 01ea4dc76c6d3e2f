import { expect, test } from "bun:test";
import { lstat, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { installPlugins, settlePlugins } from "../../../cli/agent/install.ts";

test("the image and a link for each plugin are put in place, over older ones too, and only once", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tenon-install-"));
  try {
    const [from, to] = [join(folder, "image"), join(folder, "bin")];
    await writeFile(from, "one");
    expect(await installPlugins(from, to)).toBe(true);
    const { ino, mode } = await stat(join(to, "tenon-cni"));
    expect(mode & 0o777).toBe(0o755);
    expect((await stat(join(to, "bridge"))).ino).toBe(ino);
    expect(await installPlugins(from, to)).toBe(false);
    // Another suite's plugin of that name makes room, as does an older image.
    await rm(join(to, "bridge"));
    await writeFile(join(to, "bridge"), "another");
    expect(await installPlugins(from, to)).toBe(true);
    await writeFile(from, "two");
    expect(await installPlugins(from, to)).toBe(true);
    for (const name of ["tenon-cni", "bridge", "host-local", "vxlan"]) {
      expect(await readFile(join(to, name), "utf8")).toBe("two");
      expect((await lstat(join(to, name))).isFile()).toBe(true);
    }
    expect((await readdir(to)).filter((name) => name.startsWith("."))).toEqual([]);
    await expect(installPlugins(join(folder, "none"), to)).rejects.toThrow("ENOENT");
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("an image that is there already is compared piece by piece, not held in memory", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tenon-large-"));
  try {
    const [from, to] = [join(folder, "image"), join(folder, "bin")];
    await writeFile(from, "");
    await truncate(from, 150 << 20);
    expect(await installPlugins(from, to)).toBe(true);
    const source = `import { execa } from "execa";
import { installPlugins } from ${JSON.stringify(join(import.meta.dir, "../../../cli/agent/install.ts"))};
      console.log(await installPlugins(${JSON.stringify(from)}, ${JSON.stringify(to)}), process.resourceUsage().maxRSS);`;
    const { stdout } = await execa(process.execPath, ["-e", source]);
    const [changed, kilobytes] = stdout.split(" ");
    expect(changed).toBe("false");
    expect(Number(kilobytes)).toBeLessThan(150 << 10);
    await writeFile(from, "another");
    await truncate(from, 150 << 20);
    expect(await installPlugins(from, to)).toBe(true);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("to have the plugins lie well in memory changes nothing, and nothing is made of their absence", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tenon-settle-"));
  try {
    await writeFile(join(folder, "tenon-cni"), "image");
    settlePlugins([join(folder, "none"), folder]);
    expect([await readdir(folder), await readFile(join(folder, "tenon-cni"), "utf8")]).toEqual([
      ["tenon-cni"],
      "image",
    ]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
