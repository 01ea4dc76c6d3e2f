import { expect, test } from "bun:test";
import { contract } from "../helpers/contract.ts";
import { attach, before, bridge, firewall, type Pod, reaches, saved } from "../helpers/firewall.ts";
import { makeNode, type Node, uplink } from "../helpers/node.ts";
import { call, errorOf, must, ours, soak } from "../helpers/plugin.ts";
import { leftOver, snapshot } from "../helpers/snapshot.ts";

const versions = ["0.4.0", "1.0.0", "1.1.0"];
contract("firewall", {
  conf: { ingressPolicy: "same-bridge", prevResult: before },
  versions,
  exclusive: false,
  bad: [
    { change: { backend: "ipchains" }, names: ["backend", "ipchains"], code: 2 },
    { change: { backend: "firewalld" }, names: ["backend", "firewalld", "trusted"], code: 2 },
    { change: { backend: 7 }, names: ["backend", "7"], code: 2 },
    { change: { ingressPolicy: "closed" }, names: ["ingressPolicy", "closed"], code: 2 },
    { change: { iptablesAdminChainName: "a b" }, names: ["iptablesAdminChainName", "a b"] },
    { change: { iptablesAdminChainName: `A${"x".repeat(28)}` }, names: ["iptablesAdminChainName"] },
    { change: { prevResult: undefined }, names: ["prevResult"] },
    { change: { prevResult: { ips: [{ address: "10.1.0.2/16" }] } }, names: ["interfaces[0]"] },
    {
      change: { prevResult: { interfaces: [{ name: "x".repeat(16) }], ips: [] } },
      names: ["interfaces[0]", "x".repeat(16)],
    },
  ],
  stays: /^. nft .*"(table|name)":"tenon"/,
});

test("firewall leaves iptables alone where nothing drops, and runs no program, nor where FORWARD drops", async () => {
  await using node = await makeNode("trace");
  const pod = await node.netns("pod");
  for (const drop of [false, true]) {
    if (drop) await node.exec("iptables", ["-P", "FORWARD", "DROP"]);
    for (const verb of ["ADD", "CHECK", "STATUS", "DEL", "GC", "VERSION"]) {
      const conf = { ...firewall, cniVersion: "1.1.0", ingressPolicy: "isolated", prevResult: before };
      expect(`${verb} ${(await executed(node, verb, conf, pod.path)).length}`).toBe(`${verb} 1`);
      if (verb !== "ADD") continue;
      const { stdout } = await node.exec("nft", ["list", "ruleset"]);
      expect(stdout.includes("CNI-FORWARD")).toBe(drop);
      expect(stdout).toContain('10.1.0.2 comment "net/c1/eth0"');
    }
  }
});

/** What the plugin executes while it serves a verb, itself first. */
async function executed(node: Node, verb: string, conf: object, netns: string): Promise<string[]> {
  const env = { CNI_COMMAND: verb, CNI_CONTAINERID: "c1", CNI_NETNS: netns, CNI_IFNAME: "eth0", CNI_PATH: ours };
  const trace = ["-f", "-qq", "-e", "trace=execve,execveat", "-o", `${node.dir}/trace`, `${ours}/firewall`];
  const input = JSON.stringify({ ...conf, "cni.dev/valid-attachments": [] });
  await node.exec("strace", trace, { input, env });
  const { stdout } = await node.exec("grep", ["execve.* = 0$", `${node.dir}/trace`]);
  return stdout.split("\n").map((line) => /"([^"]+)"/.exec(line)![1]!);
}

test("firewall lets pods through a FORWARD of iptables-legacy that drops, by its own program", async () => {
  await using node = await makeNode("legacy", { uplink: true });
  const rules = async () =>
    (await node.exec("iptables-legacy-save", ["-t", "filter"])).stdout
      .split("\n")
      .filter((line) => line.startsWith("-A"));
  await node.exec("iptables-legacy", ["-P", "FORWARD", "DROP"]);
  const conf = bridge("net", "cni0", ["10.1.0.0/16"]);
  await node.outside!.exec("ip", ["route", "add", "10.1.0.0/16", "via", uplink.node[0]]);
  const pods = await Promise.all(["a", "b", "c"].map((name) => attach(node, name, conf, {})));
  expect(await reaches(pods[0]!.netns, uplink.outside[0])).toBe(true);
  expect(await reaches(node.outside!, pods[0]!.addresses[0]!)).toBe(false);
  expect(await rules()).toHaveLength(8);
  const at = (pod: Pod) => ({ netns: pod.netns.path, containerId: pod.name });
  const known = (pod: Pod) => ({ ...pod.conf, prevResult: pod.result });
  await must(node, "CHECK", known(pods[0]!), at(pods[0]!));
  await node.exec("iptables-legacy", ["-D", "CNI-FORWARD", "-s", pods[0]!.addresses[0]!, "-j", "ACCEPT"]);
  expect(errorOf(await call(node, "CHECK", known(pods[0]!), at(pods[0]!))).code).toBe(101);
  await must(node, "DEL", known(pods[0]!), at(pods[0]!));
  await must(node, "DEL", { ...pods[1]!.conf }, { containerId: "b" });
  await must(node, "GC", { ...pods[2]!.conf, cniVersion: "1.1.0", "cni.dev/valid-attachments": [] });
  expect(await rules()).toHaveLength(2);
  const programs = await executed(node, "ADD", { ...firewall, prevResult: before }, pods[0]!.netns.path);
  expect(programs.map((path) => path.split("/").at(-1))).toEqual([
    "firewall",
    "iptables-legacy-save",
    "iptables-legacy-restore",
  ]);
});

test("firewall DEL and GC take away what bears the attachment's label, and nothing that another holds by now", async () => {
  await using node = await makeNode("label");
  const [pod] = [await node.netns("pod")];
  await node.exec("iptables", ["-P", "FORWARD", "DROP"]);
  const conf = { ...firewall, cniVersion: "1.1.0", prevResult: before };
  const lines = async () => (await saved(node)).filter((line) => line.includes("10.1.0.2"));
  await must(node, "ADD", conf, { netns: pod!.path, containerId: "old" });
  await must(node, "ADD", conf, { netns: pod!.path, containerId: "new" }); // host-local gave the address again
  await must(node, "DEL", conf, { containerId: "old" });
  await must(node, "GC", { ...conf, "cni.dev/valid-attachments": [{ containerID: "new", ifname: "eth0" }] });
  await must(node, "CHECK", conf, { netns: pod!.path, containerId: "new" });
  expect(await lines()).toHaveLength(2);
  await must(node, "DEL", { ...conf, prevResult: undefined }, { containerId: "new" });
  expect(await lines()).toEqual([]);
  expect(errorOf(await call(node, "CHECK", conf, { netns: pod!.path, containerId: "new" })).code).toBe(101);
});

test("firewall DEL succeeds with keys that no ADD would take", async () => {
  await using node = await makeNode("keys");
  const pod = await node.netns("pod");
  await must(node, "ADD", { ...firewall, prevResult: before }, { netns: pod.path });
  await must(node, "DEL", { ...firewall, backend: "firewalld", ingressPolicy: "none", iptablesAdminChainName: "a b" });
  expect((await node.exec("nft", ["list", "ruleset"])).stdout).not.toContain("net/c1/eth0");
});

test("firewall CHECK finds what was taken away", async () => {
  await using node = await makeNode("check");
  const pod = await node.netns("pod");
  const conf = { ...firewall, ingressPolicy: "isolated", prevResult: before };
  const at = { netns: pod.path };
  await node.exec("iptables", ["-P", "FORWARD", "DROP"]);
  await node.exec("ip6tables", ["-P", "FORWARD", "DROP"]);
  const breaks = [
    ["nft flush set inet tenon firewall/pods4", "10.1.0.2"],
    ["nft flush chain inet tenon forward", "rules"],
    ["nft flush set inet tenon firewall/bridges", "cni0"],
    ["nft add element inet tenon firewall/loops { cni0 . cni0 }", "isolated"],
    ["iptables -D CNI-FORWARD -s 10.1.0.2 -j ACCEPT", "10.1.0.2"],
    ["iptables -D FORWARD 1", "FORWARD"],
    ["nft delete table inet tenon; iptables -F CNI-FORWARD", "10.1.0.2"],
  ];
  for (const [command, names] of breaks) {
    await must(node, "ADD", conf, at);
    await must(node, "CHECK", conf, at);
    await node.exec("sh", ["-c", command!]);
    const { code, msg } = errorOf(await call(node, "CHECK", conf, at));
    expect(msg).toContain(names!);
    expect(code).toBe(101);
    await must(node, "DEL", conf, at);
    await must(node, "GC", { ...conf, cniVersion: "1.1.0", "cni.dev/valid-attachments": [] });
  }
});

test("firewall STATUS tells of what no rule of ours can overcome", async () => {
  await using node = await makeNode("status");
  const conf = { ...firewall, cniVersion: "1.1.0" };
  expect((await call(node, "STATUS", conf)).stderr).toBe("");
  expect(errorOf(await call(node, "STATUS", { ...conf, backend: "firewalld" })).code).toBe(50);
  await node.exec("sysctl", ["-qw", "net.bridge.bridge-nf-call-iptables=0"]);
  expect((await call(node, "STATUS", { ...conf, ingressPolicy: "isolated" })).stderr).toContain(
    "bridge-nf-call-iptables",
  );
  await node.exec("iptables", ["-P", "FORWARD", "DROP"]); // pods are let through there
  const hook = "type filter hook forward priority 5; policy drop;";
  const site = `table inet firewalld {\n}\ntable ip site {\nchain way {\n${hook}\n}\n}\n`;
  await node.exec("nft", ["-f", "-"], { input: site });
  const { stderr, exitCode } = await call(node, "STATUS", conf);
  expect(exitCode).toBe(0);
  expect(stderr).toContain("firewalld");
  expect(stderr).toContain("chain ip site way");
  expect(stderr).not.toContain("FORWARD");
});

test("firewall ADD without the program that it needs tells so; DEL needs none", async () => {
  await using node = await makeNode("program");
  const pod = await node.netns("pod");
  await node.exec("iptables-legacy", ["-P", "FORWARD", "DROP"]);
  const conf = { ...firewall, cniVersion: "1.1.0", prevResult: before };
  await must(node, "ADD", conf, { netns: pod.path });
  // An empty folder over the programs: what is not there cannot be run.
  await node.exec("sh", ["-c", "mkdir /run/none && mount --bind /run/none /usr/sbin"]);
  expect(await call(node, "DEL", conf)).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
  const failed = errorOf(await call(node, "ADD", conf, { netns: pod.path, containerId: "c2" }));
  expect(failed.msg).toContain("iptables-legacy-save");
  await node.exec("umount", ["/usr/sbin"]);
  expect((await node.exec("iptables-legacy-save", [])).stdout).not.toContain("10.1.0.2");
  await must(node, "GC", { ...conf, "cni.dev/valid-attachments": [] });
  expect((await node.exec("nft", ["list", "ruleset"])).stdout).toBe("");
});

test("firewall: what was killed half way is gone after GC, what lives stays", async () => {
  await using node = await makeNode("kill");
  for (const program of ["iptables", "ip6tables"]) await node.exec(program, ["-P", "FORWARD", "DROP"]);
  const pod = await node.netns("pod");
  const conf = { ...firewall, cniVersion: "1.1.0", ingressPolicy: "isolated" };
  const prevResult = (at: number) => ({ ...before, ips: [{ address: `10.1.${at >> 8}.${at & 255}/16` }] });
  await must(node, "ADD", { ...conf, prevResult: prevResult(1) }, { netns: pod.path, containerId: "alive" });
  const living = await snapshot(node);
  const rounds = soak ? 200 : 30;
  for (let at = 2; at < rounds + 2; at++) {
    const env = {
      CNI_COMMAND: at % 3 ? "ADD" : "DEL",
      CNI_CONTAINERID: `c${at}`,
      CNI_NETNS: pod.path,
      CNI_IFNAME: "eth0",
      CNI_PATH: ours,
    };
    const input = JSON.stringify({ ...conf, prevResult: prevResult(at) });
    if (at % 3 === 0)
      await must(node, "ADD", { ...conf, prevResult: prevResult(at) }, { netns: pod.path, containerId: `c${at}` });
    const after = `${0.002 + (0.01 * at) / rounds}`;
    await node.exec("timeout", ["--signal=KILL", after, `${ours}/firewall`], { input, env, reject: false });
  }
  await must(node, "GC", { ...conf, "cni.dev/valid-attachments": [{ containerID: "alive", ifname: "eth0" }] });
  expect(leftOver(living, await snapshot(node), [/file \/run\/tenon/])).toEqual([]);
});

test("firewall: many at once, and none is left after", async () => {
  await using node = await makeNode("many");
  await node.exec("iptables", ["-P", "FORWARD", "DROP"]);
  const pod = await node.netns("pod");
  const conf = { ...firewall, cniVersion: "1.1.0", ingressPolicy: "same-bridge" };
  const start = await snapshot(node);
  const many = soak ? 100 : 25;
  const all = Array.from({ length: many }, (_, at) => ({ ...before, ips: [{ address: `10.1.0.${at + 2}/16` }] }));
  const at = (name: number) => ({ netns: pod.path, containerId: `c${name}`, timeout: 60_000 });
  await Promise.all(all.map((prevResult, name) => must(node, "ADD", { ...conf, prevResult }, at(name))));
  expect((await saved(node)).filter((line) => /10\.1\.0\.\d+/.test(line))).toHaveLength(2 * many);
  await Promise.all(all.map((prevResult, name) => must(node, "DEL", { ...conf, prevResult }, at(name))));
  await must(node, "GC", { ...conf, "cni.dev/valid-attachments": [] });
  expect(leftOver(start, await snapshot(node), [/CNI-(FORWARD|ADMIN)|file \/run\/tenon/])).toEqual([]);
});
