// A container image made on the spot, without a registry: the machine's static busybox, with links for its applets.
// https://github.com/moby/moby/blob/master/image/spec/v1.2.md (what `docker save` writes; containerd and podman read it)
import { copyFile, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { needPrograms } from "./node.ts";

/** Its name in runtimes. As a pod's pause container, and by default, it sleeps. */
export const image = "localhost/tenon-test:1";
const applets = ["cat", "ip", "ls", "nc", "ping", "ping6", "sh", "sleep", "true", "wget"];

/** Writes the image's archive into the folder and returns its path. */
export async function makeImage(folder: string): Promise<string> {
  await needPrograms("busybox", "tar");
  const root = join(folder, "image");
  await mkdir(join(root, "files/bin"), { recursive: true });
  await copyFile("/usr/bin/busybox", join(root, "files/bin/busybox"));
  for (const applet of applets) await symlink("busybox", join(root, "files/bin", applet));
  await execa("tar", ["--owner=0", "--group=0", "-cf", join(root, "layer.tar"), "-C", join(root, "files"), "."]);
  const config = JSON.stringify({
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    os: "linux",
    created: "2000-01-01T00:00:00Z",
    config: { Cmd: ["/bin/sleep", "100000"], Env: ["PATH=/bin"] },
    rootfs: { type: "layers", diff_ids: [`sha256:${sha256(await readFile(join(root, "layer.tar")))}`] },
  });
  await writeFile(join(root, "config.json"), config);
  const manifest = [{ Config: "config.json", RepoTags: [image], Layers: ["layer.tar"] }];
  await writeFile(join(root, "manifest.json"), JSON.stringify(manifest));
  const archive = join(folder, "image.tar");
  await execa("tar", ["-cf", archive, "-C", root, "manifest.json", "config.json", "layer.tar"]);
  return archive;
}

function sha256(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}
