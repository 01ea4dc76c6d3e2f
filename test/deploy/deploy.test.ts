// What is handed over for operation: the service, and the image, whose folder is put together as its definition says.
import { expect, test } from "bun:test";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { execa } from "execa";
import { executable } from "../helpers/agent.ts";

test("the image holds all that the executable needs, without a shell", async () => {
  const image = await mkdtemp(join(tmpdir(), "tenon-image-"));
  try {
    const definition = await readFile("deploy/Containerfile", "utf8");
    expect(definition).toContain("COPY build/tenon /image/usr/bin/tenon");
    const put = async (from: string, to: string) => {
      await mkdir(dirname(join(image, to)), { recursive: true });
      await execa("cp", ["-L", from, join(image, to)]);
    };
    const { stdout } = await execa("ldd", [executable]);
    for (const [file] of stdout.matchAll(/\/[^ ]*/g)) await put(file, file);
    await put(executable, "/usr/bin/tenon");
    const config =
      "networks: [{ name: a, source: { type: file, path: /p }, conflist: { template: /t, to: /c.conflist } }]";
    await writeFile(join(image, "agent.yaml"), config);
    // As every runtime gives it: a /proc of its own.
    await mkdir(join(image, "proc"));
    const enter = 'mount -t proc proc "$1/proc"; exec chroot "$@"';
    const into = ["--mount", "--pid", "--fork", "sh", "-ec", enter, "sh", image, "/usr/bin/tenon"];
    const within = (...args: string[]) => execa("unshare", [...into, ...args], { reject: false });
    expect((await within("version")).stdout).toStartWith("tenon ");
    expect(await within("agent", "--check", "--config", "/agent.yaml")).toMatchObject({ exitCode: 0, stderr: "" });
  } finally {
    await rm(image, { recursive: true });
  }
});

test("the service names commands that there are", async () => {
  const text = await readFile(resolve("deploy/tenon-agent.service"), "utf8");
  const lines = [...text.matchAll(/^ExecStart(?:Pre)?=\/usr\/bin\/tenon (.*)$/gm)].map(([, args]) => args);
  expect(lines).toEqual(["agent --check --config /etc/tenon/agent.yaml", "agent --config /etc/tenon/agent.yaml"]);
  // What it leaves in /run/tenon is read by plugins while it is down.
  expect(text).toContain("RuntimeDirectoryPreserve=yes");
  expect(text).not.toMatch(/^(MemoryDenyWriteExecute|ProtectKernelTunables|PrivateMounts|PrivateNetwork)=/m);
});
