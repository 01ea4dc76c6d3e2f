// The machines of helpers/vm.ts: that each kernel boots, has what the test machine's own kernel may lack, and runs
// compiled programs; and that a machine which fails says so.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { runInVm, runStepsInVm, type VmResult } from "../helpers/vm.ts";

/** Calls into libc, and asks for an SCTP socket that listens: that loads the module and what it hashes with. */
const program = `
import { dlopen } from "bun:ffi";
const call = { args: ["i32", "i32", "i32"], returns: "i32" };
const { symbols } = dlopen("libc.so.6", { socket: call, listen: call });
const socket = symbols.socket(2, 1, 132);
console.log(JSON.stringify({ socket: socket > 2, listen: symbols.listen(socket, 1, 0), argv0: process.argv0 }));
`;

const link = (name: string, kind: string) => `
  ip link add ${name} ${kind}
  ip -j -d link show ${name}
  ip link del ${name}`;

const steps = {
  release: "uname -r",
  vlanFiltering: `
    ip link add br0 type bridge vlan_filtering 1
    ip link add v0 type veth peer name v1
    ip link set v0 master br0
    bridge vlan add dev v0 vid 100 pvid untagged
    bridge vlan add dev v0 vid 200-201
    bridge -j vlan show`,
  dummy: link("d0", "type dummy"),
  vlan: link("t0", "link v1 type vlan id 7"),
  ipvlan: link("i0", "link v1 type ipvlan mode l3s"),
  vrf: link("r0", "type vrf table 10"),
  macvlan: link("m0", "link v1 type macvlan mode bridge"),
  vxlan: link("x0", "type vxlan id 9 dstport 4789 local 192.0.2.1"),
  nat: `
    nft 'add table inet t; add chain inet t post { type nat hook postrouting priority srcnat; };
      add set inet t s { type ipv4_addr; }; add rule inet t post ip saddr @s masquerade'
    nft list table inet t`,
  bridgeFamily: `
    nft 'add table bridge t; add chain bridge t pre { type filter hook prerouting priority -300; };
      add rule bridge t pre iifname v0 ether saddr != 02:00:00:00:00:01 drop'
    nft list table bridge t`,
  compiled: "/opt/program; ln -s program /opt/link; /opt/link",
  folder: 'readlink /opt/folder/b; [ "$(stat -c %i /opt/folder/a)" = "$(stat -c %i /opt/folder/c)" ]; echo same',
  runners: "for by in 'unshare -n' 'timeout 5' 'xargs' env; do $by ip -V < /dev/null; done; echo in | cat /dev/stdin",
  pipe: "[ ! -t 1 ]; printf 'no newline; \\001\\377' | od -An -tx1; echo to stderr >&2; exit 9",
};

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tenon-smoke-"));
  await Bun.write(join(dir, "program.ts"), program);
  await execa(process.execPath, ["build", "--compile", join(dir, "program.ts"), "--outfile", join(dir, "program")]);
  await execa("sh", ["-ec", "mkdir f; echo x > f/a; ln f/a f/c; ln -s a f/b"], { cwd: dir });
}, 120_000);
afterAll(() => rm(dir, { recursive: true, force: true }));

describe.each(["5.10", "6.1"] as const)("kernel %s", (kernel) => {
  let ran: Record<keyof typeof steps, VmResult>;
  beforeAll(async () => {
    ran = await runStepsInVm({
      kernel,
      steps,
      files: { "/opt/program": join(dir, "program"), "/opt/folder": join(dir, "f") },
    });
  }, 240_000);

  test("is the one that was asked for", () => {
    expect(ran.release.output).toStartWith(`${kernel}.`);
    expect(ran.release).toEqual({
      exitCode: 0,
      output: expect.stringMatching(/^[\d.]+-\d+-cloud-amd64\n$/),
    });
  });

  test("filters VLANs on a bridge", () => {
    expect(ran.vlanFiltering.exitCode).toBe(0);
    const port = JSON.parse(ran.vlanFiltering.output).find(({ ifname }: { ifname: string }) => ifname === "v0");
    expect(port.vlans).toEqual([
      { vlan: 1, flags: ["Egress Untagged"] },
      { vlan: 100, flags: ["PVID", "Egress Untagged"] },
      { vlan: 200 },
      { vlan: 201 },
    ]);
  });

  test.each(["dummy", "vlan", "ipvlan", "vrf", "macvlan", "vxlan"] as const)("makes a %s link", (kind) => {
    expect(ran[kind].exitCode).toBe(0);
    expect(JSON.parse(ran[kind].output)[0].linkinfo.info_kind).toBe(kind);
  });

  test("translates addresses with nftables", () => {
    expect(ran.nat).toEqual({ exitCode: 0, output: expect.stringContaining("ip saddr @s masquerade") });
  });

  test("filters in the bridge family", () => {
    expect(ran.bridgeFamily.exitCode).toBe(0);
    expect(ran.bridgeFamily.output).toContain('iifname "v0" ether saddr != 02:00:00:00:00:01 drop');
  });

  test("runs a compiled program that calls libc and gets an SCTP socket, also by a link", () => {
    expect(ran.compiled.exitCode).toBe(0);
    const lines = ran.compiled.output.trim().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { socket: true, listen: 0, argv0: "/opt/program" },
      { socket: true, listen: 0, argv0: "/opt/link" },
    ]);
  });

  test("gets folders with their links", () => {
    expect(ran.folder).toEqual({ exitCode: 0, output: "a\nsame\n" });
  });

  test("runs iproute2's ip, not busybox', whoever starts it", () => {
    expect(ran.runners).toEqual({ exitCode: 0, output: expect.stringMatching(/^(ip utility, iproute2.*\n){4}in\n$/) });
  });

  test("gives standard output and error back byte for byte, and the exit code", () => {
    const bytes = " 6e 6f 20 6e 65 77 6c 69 6e 65 3b 20 01 ff\n";
    expect(ran.pipe).toEqual({ exitCode: 9, output: `${bytes}to stderr\n` });
  });
});

describe("a machine that fails", () => {
  test("is switched off at the time limit, and what was seen is told", async () => {
    const began = performance.now();
    await runInVm({ kernel: "5.10", script: "" });
    const seconds = 5 + Math.ceil((performance.now() - began) / 1000); // to boot takes as long as the machine has to spare
    const run = runInVm({ kernel: "5.10", script: "echo so far; sleep 600", timeoutSeconds: seconds });
    const told = new RegExp(`^Cannot run the script on kernel 5\\.10: not done after ${seconds} s\\n[^]*so far`);
    await expect(run).rejects.toThrow(told);
  }, 300_000);

  test("because its kernel panics says so with the kernel's words", async () => {
    const run = runInVm({ kernel: "6.1", script: "echo c > /proc/sysrq-trigger; sleep 600" });
    await expect(run).rejects.toThrow(
      /: the machine stopped\n[\s\S]*(sysrq(_handle_| triggered )crash|Kernel Offset)/i,
    );
  }, 180_000);

  test("for want of a program says what to install", async () => {
    const text = 'import { runInVm } from "./test/helpers/vm.ts"; await runInVm({ kernel: "6.1", script: "" });';
    const root = join(import.meta.dir, "../..");
    const options = { cwd: root, env: { PATH: dir }, extendEnv: false, reject: false };
    const { stderr, exitCode } = await execa(process.execPath, ["--eval", text], options);
    expect(stderr).toContain("qemu-system-x86_64 is missing: apt-get install qemu-system-x86 ");
    expect(exitCode).toBe(1);
  });
});
