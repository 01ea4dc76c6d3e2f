// host-local on kernels whose file systems tell the time in ticks: two changes within one leave the same modification
// time (since Linux 6.13 they do not). And on ext4 and tmpfs of those kernels, with what they know of unnamed files.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { execa } from "execa";
import { pluginFolder } from "../helpers/plugin-folder.ts";
import { runStepsInVm, type VmResult } from "../helpers/vm.ts";

/** Changes a folder by turns with somebody who knows nothing of us: prints what was missed, and how often a tick hid a change. */
const program = `
import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { withStore } from "${resolve("lib/ipam/store.ts")}";
const directory = "/var/lib/net";
mkdirSync(directory);
const inStore = (body) => withStore({ directory, cache: "/run/cache" }, body);
const time = () => statSync(directory, { bigint: true }).mtimeNs;
let [missed, hidden, remembered] = [0, 0, 0];
for (let i = 0; i < 200; i++) {
  writeFileSync(directory + "/x", "");
  const before = time();
  rmSync(directory + "/x");
  if (time() === before) hidden++;
  inStore((store) => store.reserve(1n, "c1"));
  inStore((store) => store.held("c1").length === 1 && !store.isFresh && remembered++);
  inStore((store) => store.release(1n, "c1") ?? store.reserve(2n, "c2"));
  writeFileSync(directory + "/::1", "c3");
  if (inStore((store) => store.held("c3").length) !== 1) missed++;
  inStore((store) => store.release(2n, "c2"));
  rmSync(directory + "/::1");
  if (inStore((store) => store.index.count) !== 0) missed++;
}
console.log(JSON.stringify({ missed, remembered, hidden: hidden > 0 }));
`;

const conf = (dataDir: string) =>
  JSON.stringify({
    cniVersion: "1.0.0",
    name: "net",
    type: "host-local",
    ipam: { type: "host-local", dataDir, subnet: "10.1.2.0/24" },
  });
const plugin = (verb: string, dataDir: string) => `
  echo '${conf(dataDir)}' | CNI_COMMAND=${verb} CNI_CONTAINERID=c1 CNI_NETNS=/none CNI_IFNAME=eth0 CNI_PATH=/opt /opt/host-local`;
const whole = (dataDir: string) => `
  ${plugin("ADD", dataDir)} | grep address
  cat ${dataDir}/net/10.1.2.2; echo
  ls /run/tenon/host-local | wc -l
  ${plugin("DEL", dataDir)}
  ls -A ${dataDir}/net`;

const steps = { ticks: "/opt/program", ext4: whole("/var/lib/cni"), tmpfs: whole("/run/cni") };

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tenon-host-local-"));
  await Bun.write(join(dir, "program.ts"), program);
  await execa(process.execPath, ["build", "--compile", join(dir, "program.ts"), "--outfile", join(dir, "program")]);
}, 120_000);
afterAll(() => rm(dir, { recursive: true, force: true }));

describe.each(["5.10", "6.1"] as const)("kernel %s", (kernel) => {
  let ran: Record<keyof typeof steps, VmResult>;
  beforeAll(async () => {
    const files = {
      "/opt/program": join(dir, "program"),
      "/opt/host-local": join(await pluginFolder("host-local"), "host-local"),
    };
    ran = await runStepsInVm({ kernel, steps, files });
  }, 240_000);

  test("host-local misses no change that a tick of the file system's clock hides", () => {
    expect(ran.ticks).toMatchObject({ exitCode: 0 });
    expect(JSON.parse(ran.ticks.output)).toEqual({ missed: 0, remembered: 200, hidden: true });
  });

  test.each(["ext4", "tmpfs"] as const)("host-local keeps and removes a reservation on %s", (step) => {
    expect(ran[step].exitCode).toBe(0);
    expect(
      ran[step].output
        .replaceAll(/[ \r]+/g, " ")
        .trim()
        .split("\n"),
    ).toEqual(['"address": "10.1.2.2/24",', "c1 ", "eth0", "1", "last_reserved_ip.0", "lock"]);
  });
});
