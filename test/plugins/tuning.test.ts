import { expect, test } from "bun:test";
import { referenceDir } from "../../scripts/reference.ts";
import { contract } from "../helpers/contract.ts";
import { makeNode, type Netns, type Node } from "../helpers/node.ts";
import { call, errorOf, must, ours } from "../helpers/plugin.ts";
import { leftOver, snapshot } from "../helpers/snapshot.ts";

const { dir: reference, version } = referenceDir(); // asked for here: inside a node no archive can be reached
const knowsQueue = Bun.semver.order(version, "1.2.0") >= 0;

const filter = "net.ipv4.conf.IFNAME.arp_filter";
const firstMac = "02:00:00:00:00:01";

/** A namespace with the interface that a main plugin would have made. */
async function makePod(node: Node, name = "pod", ifname = "eth0"): Promise<Netns> {
  const pod = await node.netns(name);
  const link = ["link", "add", ifname, "address", firstMac, "type", "veth", "peer", "name", "peer"];
  await pod.exec("ip", link);
  await pod.exec("ip", ["link", "set", ifname, "up"]);
  return pod;
}

const resultOf = (pod: Netns) => ({
  cniVersion: "1.0.0",
  interfaces: [
    { name: "host", mac: "02:00:00:00:00:09" },
    { name: "eth0", mac: firstMac, sandbox: pod.path },
  ],
  ips: [{ interface: 1, address: "10.0.0.2/24", gateway: "10.0.0.1" }],
  routes: [{ dst: "0.0.0.0/0" }],
  dns: { nameservers: ["192.0.2.53"] },
});

const confOf = (pod: Netns, more: object = {}) => ({
  ...{ cniVersion: "1.0.0", name: "net", type: "tuning", prevResult: resultOf(pod), ...more },
});

const backup = "/run/cni/tuning/c1_eth0.json";
const everything = {
  mac: "02:00:00:00:00:02",
  mtu: 1400,
  promisc: true,
  allmulti: true,
  ...(knowsQueue ? { txQLen: 7 } : {}),
};

async function state(pod: Netns, ifname = "eth0") {
  const [{ address, mtu, txqlen, flags }] = JSON.parse((await pod.exec("ip", ["-j", "link", "show", ifname])).stdout);
  const names = [
    `net.ipv4.conf.${ifname}.arp_filter`,
    `net.ipv4.conf.${ifname}.arp_announce`,
    "net.ipv4.ip_local_port_range",
  ];
  const sysctls = (await pod.exec("sysctl", ["-n", ...names])).stdout;
  return { address, mtu, txqlen, promisc: flags.includes("PROMISC"), allmulti: flags.includes("ALLMULTI"), sysctls };
}

const read = async (node: Node, path: string) =>
  (await node.exec("sh", ["-c", `cat ${path} 2>/dev/null || true`])).stdout;

// In the contract the interface is "lo", which every namespace has, and prevResult reads in every version.
const prevResult = {
  ip4: { ip: "127.0.0.1/8" },
  interfaces: [{ name: "lo", mac: "00:00:00:00:00:00" }],
  ips: [{ address: "127.0.0.1/8", interface: 0 }],
};

contract("tuning", {
  conf: { prevResult, mtu: 1400, txQLen: 7, allmulti: true, sysctl: { [filter]: "1", "net/core/somaxconn": "256" } },
  ifname: "lo",
  exclusive: false,
  bad: [
    { change: { prevResult: null }, names: ["prevResult"] },
    { change: { mtu: "1400" }, names: ["mtu", "1400"] },
    { change: { mtu: -1 }, names: ["mtu", "-1"] },
    { change: { mac: "zz" }, names: ["mac", "zz"] },
    { change: { mac: "01:00:00:00:00:01" }, names: ["mac", "01:00:00:00:00:01"] },
    { change: { runtimeConfig: { mac: "zz" } }, names: ["runtimeConfig.mac", "zz"] },
    { change: { args: { cni: { mtu: -2 } } }, names: ["args.cni.mtu", "-2"] },
    { change: { promisc: 1 }, names: ["promisc", "1"] },
    { change: { allmulti: "yes" }, names: ["allmulti", "yes"] },
    { change: { txQLen: -1 }, names: ["txQLen", "-1"] },
    { change: { sysctl: ["net.ipv4.ip_forward"] }, names: ["sysctl", "net.ipv4.ip_forward"] },
    { change: { sysctl: { "net.ipv4.ip_forward": 1 } }, names: ["sysctl.net.ipv4.ip_forward", "1"] },
    { change: { sysctl: { "kernel.hostname": "x" } }, names: ["kernel.hostname"] },
    { change: { sysctl: { "net/../kernel/hostname": "x" } }, names: ["kernel/hostname"] },
    { change: { sysctl: { "net.ipv4.none": "x" } }, names: ["ipv4/none"] },
    { change: { sysctl: { [filter]: "1", "net.core.somaxconn": "many" } }, names: ["core/somaxconn", "many"] },
    {
      change: { sysctl: { [filter]: "1", "net.ipv4.conf.lo.arp_filter": "0" } },
      names: ["sysctl", "conf.lo.arp_filter"],
    },
  ],
  stays: /file \/run\/cni\/(tuning\/)?$/,
});

const tunings: [what: string, change: Record<string, unknown>, args?: string][] = [
  ["everything", everything],
  ["a MAC address", { mac: everything.mac }],
  ["an MTU", { mtu: 1300 }],
  ["promiscuity", { promisc: true }],
  ["no promiscuity", { promisc: false }],
  ["all multicast", { allmulti: true }],
  ["not all multicast", { allmulti: false }],
  ["zeros, which change nothing", { mtu: 0, mac: "" }],
  ["nothing", {}],
  ["everything from args", { mtu: 1300, args: { cni: { ...everything, promisc: true } } }],
  [
    "a MAC address from args over all others",
    { mac: "02:00:00:00:00:05", runtimeConfig: { mac: "02:00:00:00:00:06" }, args: { cni: { mac: everything.mac } } },
    "MAC=02:00:00:00:00:07",
  ],
  [
    "a MAC address from the runtime over CNI_ARGS",
    { mac: "02:00:00:00:00:05", runtimeConfig: { mac: everything.mac } },
    "MAC=02:00:00:00:00:07",
  ],
  [
    "a MAC address from CNI_ARGS over the configured one",
    { mac: "02:00:00:00:00:05" },
    "IgnoreUnknown=1;K8S_POD_NAME=a;MAC=02:00:00:00:00:02",
  ],
  ["another folder", { mtu: 1300, dataDir: "/run/elsewhere" }],
];

for (const [what, change, args] of tunings) {
  test(`tuning of ${what} is the reference's, in result, kernel and backup, and each suite restores what the other changed`, async () => {
    await using node = await makeNode("diff");
    const seen = [];
    for (const [adds, other] of [
      [reference, ours],
      [ours, reference],
    ] as const) {
      const pod = await makePod(node);
      const conf = confOf(pod, change);
      const before = await state(pod);
      const at = { netns: pod.path, bin: adds, args };
      const result = await must(node, "ADD", conf, at);
      const saved = await read(node, backup.replace("/run/cni/tuning", `${change.dataDir ?? "/run/cni/tuning"}`));
      const { tenon, ...theirs } = JSON.parse(saved || "{}");
      if (saved && adds === ours) expect(tenon).toMatchObject({ network: "net", namespace: expect.any(String) });
      seen.push({ result, state: await state(pod), saved: saved && JSON.stringify(theirs, null, 1) });
      if (adds === reference && saved) expect(saved).toBe(JSON.stringify(theirs, null, 1));
      const known = { ...conf, prevResult: result };
      await must(node, "CHECK", known, { ...at, bin: other });
      await must(node, "CHECK", known, { ...at, bin: ours });
      await must(node, "DEL", known, { ...at, bin: other });
      expect(await state(pod)).toEqual(before);
      expect(await read(node, "/run/cni/tuning/* /run/elsewhere/*")).toBe("");
      await pod.close();
    }
    expect(seen[1]).toEqual(seen[0]!);
  });
}

test("tuning of settings: the kernel has the reference's, and DEL puts back what was", async () => {
  await using node = await makeNode("sysctl");
  const sysctl = {
    [filter]: "1",
    "net/ipv4/conf/eth0/arp_announce": "2",
    "net.ipv4.ip_local_port_range": "20000 30000",
  };
  const over = { "net.ipv4.conf.IFNAME.arp_announce": "1", "net.core.somaxconn": "99" };
  const seen = [];
  for (const bin of [reference, ours]) {
    const pod = await makePod(node);
    const before = await state(pod);
    // With the reference the same setting in two spellings has the value of either.
    const args = bin === reference ? { ...over, "net/ipv4/conf/eth0/arp_announce": "1" } : over;
    const conf = confOf(pod, { sysctl, args: { cni: { sysctl: args } } });
    await must(node, "ADD", conf, { netns: pod.path, bin });
    seen.push(await state(pod));
    expect((await pod.exec("sysctl", ["-n", "net.core.somaxconn"])).stdout).toBe("99");
    if (bin === ours) {
      await must(node, "CHECK", conf, { netns: pod.path });
      await must(node, "DEL", conf, { netns: pod.path });
      expect(await state(pod)).toEqual(before);
      expect((await pod.exec("sysctl", ["-n", "net.core.somaxconn"])).stdout).not.toBe("99");
      // The reference takes a file of ours away, and passes over what it does not know.
      await must(node, "ADD", conf, { netns: pod.path });
      await must(node, "DEL", conf, { netns: pod.path, bin: reference });
      expect(await read(node, backup)).toBe("");
    }
    await pod.close();
  }
  expect(seen[1]).toEqual(seen[0]!);
  // Settings of args alone, at which the reference panics.
  const pod = await makePod(node);
  await must(node, "ADD", confOf(pod, { args: { cni: { sysctl: { [filter]: "1" } } } }), { netns: pod.path });
  expect((await state(pod)).sysctls.split("\n")[0]).toBe("1");
});

test("tuning refuses a setting that stands twice, wherever, before anything is changed", async () => {
  await using node = await makeNode("twice");
  const pod = await makePod(node);
  const before = await state(pod);
  const base = JSON.stringify(confOf(pod)).slice(0, -1);
  const [one, other] = ['"net.ipv4.conf.eth0.arp_filter":"1"', '"net/ipv4/conf/IFNAME/arp_filter":"0"'];
  for (const [text, code] of [
    [`"sysctl":{${one},${one}}`, 7],
    [`"sysctl":{${one},"net.ipv4.conf.eth0.arp\\u005ffilter":"1"}`, 7],
    [`"sysctl":{${one},${other}}`, 7],
    [`"sysctl":{${one}},"SysCtl":{"net.ipv4.conf.eth0.arp_announce":"1"}`, 7],
    [`"args":{"cni":{"sysctl":{${one},${one}}}}`, 7],
  ] as const) {
    for (const verb of ["ADD", "CHECK"]) {
      const error = errorOf(await call(node, verb, `${base},${text}}`, { netns: pod.path, type: "tuning" }));
      expect(error).toEqual({ cniVersion: "1.0.0", code, msg: expect.stringMatching(/sysctl.* twice/) } as any);
    }
    expect(await state(pod)).toEqual(before);
    expect(await read(node, backup)).toBe("");
    expect((await call(node, "DEL", `${base},${text}}`, { netns: pod.path, type: "tuning" })).exitCode).toBe(0);
  }
});

test("tuning changes what the allowlist allows, by the names in the configuration", async () => {
  await using node = await makeNode("allow");
  const pod = await makePod(node);
  const allow = (lines: string) =>
    node.exec("sh", ["-c", "mkdir -p /etc/cni/tuning; cat > /etc/cni/tuning/allowlist.conf"], { input: lines });
  await allow("^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]*$\n");
  for (const bin of [reference, ours]) {
    await must(node, "ADD", confOf(pod, { sysctl: { [filter]: "1" } }), { netns: pod.path, bin });
    const other = confOf(pod, { sysctl: { [filter]: "0", "net.ipv4.conf.eth0.arp_filter": "0" } });
    expect((await call(node, "ADD", other, { netns: pod.path, bin })).exitCode).toBe(1);
    expect((await state(pod)).sysctls.split("\n")[0]).toBe("1");
  }
  const refused = confOf(pod, { cniVersion: "1.1.0", sysctl: { "net.core.somaxconn": "1" } });
  const error = errorOf(await call(node, "ADD", refused, { netns: pod.path }));
  expect(error).toMatchObject({ code: 7, msg: expect.stringMatching(/net\.core\.somaxconn.*allowlist\.conf/) });
  expect(errorOf(await call(node, "STATUS", refused)).msg).toContain("allowlist.conf");
});

test("tuning CHECK finds each change", async () => {
  await using node = await makeNode("check");
  const pod = await makePod(node);
  const at = { netns: pod.path };
  const breaks: [command: string, names: string][] = [
    ["ip link set eth0 address 02:00:00:00:00:99", "02:00:00:00:00:99"],
    ["ip link set eth0 mtu 1280", "1280"],
    ["ip link set eth0 promisc off", "promisc"],
    ["ip link set eth0 allmulticast off", "allmulti"],
    ["ip link set eth0 txqueuelen 5", "txQLen"],
    ["sysctl -qw net.ipv4.conf.eth0.arp_filter=0", "arp_filter"],
    ["ip link set eth0 name eth7", "eth0"],
  ];
  const conf = confOf(pod, { ...everything, txQLen: 7, sysctl: { [filter]: "1" } });
  for (const [command, names] of breaks) {
    await must(node, "ADD", conf, at);
    await must(node, "CHECK", conf, at);
    await pod.exec("sh", ["-c", command]);
    const { code, msg } = errorOf(await call(node, "CHECK", conf, at));
    expect({ code, msg }).toEqual({ code: 101, msg: expect.stringContaining(names) });
    await must(node, "DEL", conf, at);
  }
});

test("tuning CHECK minds promiscuity that nobody asked for, but not a listener, nor what was there before", async () => {
  await using node = await makeNode("promisc");
  const pod = await makePod(node);
  const at = { netns: pod.path };
  const conf = confOf(pod, { mtu: 1400 });
  await must(node, "ADD", conf, at);
  await pod.exec("ip", ["link", "set", "eth0", "promisc", "on"]);
  for (const bin of [reference, ours]) expect((await call(node, "CHECK", conf, { ...at, bin })).exitCode).toBe(1);
  await must(node, "DEL", conf, at);
  await must(node, "ADD", conf, at); // promiscuous already
  await must(node, "CHECK", conf, at);
  await must(node, "DEL", conf, at);
  await pod.exec("ip", ["link", "set", "eth0", "promisc", "off"]);
  await must(node, "ADD", conf, at);
  // A port of a bridge counts as listening, as does who captures packets.
  await pod.exec("sh", ["-c", "ip link add name br0 type bridge && ip link set eth0 master br0"]);
  await must(node, "CHECK", conf, at);
});

test("tuning twice in a list: DEL puts back what was before the first", async () => {
  await using node = await makeNode("twice");
  const pod = await makePod(node);
  const at = { netns: pod.path };
  const before = await state(pod);
  const list = [
    confOf(pod, { mtu: 1400, sysctl: { [filter]: "1" } }),
    confOf(pod, { mtu: 1300, promisc: true, sysctl: { [filter]: "0", "net.ipv4.conf.IFNAME.arp_announce": "2" } }),
  ];
  for (const conf of list) await must(node, "ADD", conf, at);
  // The first no longer holds, and says so; promiscuity is the second's wish.
  expect(errorOf(await call(node, "CHECK", list[0]!, at)).msg).toContain("mtu");
  await must(node, "CHECK", confOf(pod, { allmulti: false }), at);
  for (const conf of list.reverse()) await must(node, "DEL", conf, at);
  expect(await state(pod)).toEqual(before);
  expect(await read(node, backup)).toBe("");
});

test("tuning: a backup of an earlier container is none of this one's", async () => {
  await using node = await makeNode("stale");
  const old = await makePod(node, "old");
  await old.exec("ip", ["link", "set", "eth0", "mtu", "1111"]);
  await must(node, "ADD", confOf(old, { mtu: 1400 }), { netns: old.path });
  await old.close();
  const pod = await makePod(node);
  await must(node, "ADD", confOf(pod, { mtu: 1300 }), { netns: pod.path });
  await must(node, "DEL", confOf(pod), { netns: pod.path });
  expect((await state(pod)).mtu).toBe(1500);
});

test("tuning: DEL by a path that leads to another container by now changes nothing there", async () => {
  await using node = await makeNode("led");
  const old = await makePod(node, "old");
  await must(node, "ADD", confOf(old, { mtu: 1400 }), { netns: old.path });
  const other = await makePod(node, "other");
  await other.exec("ip", ["link", "set", "eth0", "mtu", "1234"]);
  await must(node, "DEL", confOf(old), { netns: other.path });
  expect((await state(other)).mtu).toBe(1234);
  expect(await read(node, backup)).toBe("");
});

test("tuning: who gets an address with another MAC than its last owner's is found at once", async () => {
  await using node = await makeNode("announce");
  const addresses = ["10.1.0.2/16", "fd00:1::2/64"].map((address) => ({ address }));
  const bridge = { cniVersion: "1.0.0", name: "net", type: "bridge", isGateway: true };
  const conf = { ...bridge, ipam: { type: "static", addresses } };
  const third = await node.netns("third"); // keeps the bridge up
  const layer3 = { type: "static", addresses: [{ address: "10.1.0.9/16" }] };
  await must(node, "ADD", { ...bridge, ipam: layer3 }, { netns: third.path, containerId: "third" });
  for (const name of ["a", "b"]) {
    const pod = await node.netns(name);
    const at = { netns: pod.path, containerId: name };
    const prevResult = await must(node, "ADD", conf, at);
    const tuned = { ...confOf(pod), prevResult, mac: `02:11:22:33:44:0${name}` };
    await must(node, "ADD", tuned, at);
    for (const address of ["10.1.0.2", "fd00:1::2"]) await node.exec("ping", ["-c1", "-W1", address]);
    await must(node, "DEL", tuned, at);
    await must(node, "DEL", conf, at);
  }
});

test("tuning: an ADD that fails changes everything back, also an earlier backup", async () => {
  await using node = await makeNode("undo");
  const pod = await makePod(node);
  const at = { netns: pod.path };
  for (const earlier of [{}, { mtu: 1400, sysctl: { [filter]: "1" } }]) {
    await must(node, "ADD", confOf(pod, earlier), at);
    const before = [await state(pod), await read(node, backup)];
    for (const [change, names] of [
      [{ ...everything, mtu: 3, sysctl: { [filter]: "0" } }, "mtu 3"],
      [{ sysctl: { "net.ipv4.conf.IFNAME.arp_announce": "1", "net.core.somaxconn": "many" } }, "somaxconn"],
    ] as const) {
      expect(errorOf(await call(node, "ADD", confOf(pod, change), at)).msg).toContain(names);
      expect([await state(pod), await read(node, backup)]).toEqual(before);
    }
  }
  const missing = errorOf(await call(node, "ADD", confOf(pod, { mtu: 1400 }), { ...at, ifname: "eth5" }));
  expect(missing.msg).toContain("eth5");
});

test("tuning reports new MAC addresses and MTUs, and hands on the rest", async () => {
  await using node = await makeNode("result");
  const pod = await makePod(node);
  const prevResult: any = { ...resultOf(pod), cniVersion: "1.1.0" };
  prevResult.interfaces.forEach((one: any) => {
    one.mtu = 1500;
  });
  const conf = { ...confOf(pod, { mac: "02:00:00:00:00:AB", mtu: 1400 }), cniVersion: "1.1.0", prevResult };
  const result = await must(node, "ADD", conf, { netns: pod.path });
  const [host, inner] = prevResult.interfaces;
  expect(result).toEqual({ ...prevResult, interfaces: [host, { ...inner, mac: "02:00:00:00:00:ab", mtu: 1400 }] });
  await must(node, "CHECK", { ...conf, prevResult: result }, { netns: pod.path });
});

test("tuning: an interface with dots in its name has its settings, by name and by IFNAME", async () => {
  await using node = await makeNode("dots");
  const pod = await makePod(node, "pod", "eth0.100");
  const at = { netns: pod.path, ifname: "eth0.100" };
  for (const key of [filter, "net.ipv4.conf.eth0.100.arp_filter", "net/ipv4/conf/eth0.100/arp_filter"]) {
    const conf = confOf(pod, { sysctl: { [key]: "1" } });
    await must(node, "ADD", conf, at);
    expect((await pod.exec("cat", ["/proc/sys/net/ipv4/conf/eth0.100/arp_filter"])).stdout).toBe("1");
    await must(node, "CHECK", conf, at);
    await must(node, "DEL", conf, at);
    expect((await pod.exec("cat", ["/proc/sys/net/ipv4/conf/eth0.100/arp_filter"])).stdout).toBe("0");
  }
});

test("tuning: GC leaves the reference's backups and other networks'; DEL takes what is there, sound or not", async () => {
  await using node = await makeNode("gc");
  const pod = await makePod(node);
  const at = { netns: pod.path };
  await must(node, "ADD", confOf(pod, { mtu: 1400 }), { ...at, bin: reference });
  const gc = { ...confOf(pod), cniVersion: "1.1.0", prevResult: undefined, "cni.dev/valid-attachments": [] };
  await must(node, "GC", gc);
  expect(await read(node, backup)).toBe('{\n "mtu": 1500\n}');
  await must(node, "DEL", confOf(pod), { netns: "" });
  expect(await read(node, backup)).toBe("");
  const before = await snapshot(node);
  for (const text of ["", "{", "[]", '{ "mtu": "x", "tenon": 7 }', '{ "mtu": 3 }', '{ "mac": "zz", "mtu": 1280 }']) {
    await node.exec("sh", ["-c", `cat > ${backup}`], { input: text });
    const { exitCode, stdout } = await call(node, "DEL", confOf(pod), at);
    expect({ text, exitCode, stdout }).toEqual({ text, exitCode: 0, stdout: "" });
    expect(leftOver(before, await snapshot(node))).toEqual([]);
  }
  expect((await state(pod)).mtu).toBe(1280);
  // A folder in the backup's place, a file in the folder's: no reason to keep the pod.
  await node.exec("mkdir", [backup]);
  await must(node, "DEL", confOf(pod), at);
  await must(node, "DEL", confOf(pod, { dataDir: "/etc/hostname" }), at);
});

test("tuning runs no program", async () => {
  await using node = await makeNode("trace");
  const pod = await makePod(node);
  const conf = { ...confOf(pod, { ...everything, sysctl: { [filter]: "1" } }), cniVersion: "1.1.0" };
  const env = { CNI_CONTAINERID: "c1", CNI_NETNS: pod.path, CNI_IFNAME: "eth0", CNI_PATH: ours };
  for (const verb of ["ADD", "CHECK", "STATUS", "DEL", "GC", "VERSION"]) {
    const input = JSON.stringify({ ...conf, "cni.dev/valid-attachments": [] });
    const trace = ["-f", "-qq", "-e", "trace=execve,execveat", "-o", `${node.dir}/trace`, `${ours}/tuning`];
    await node.exec("strace", trace, { input, env: { ...env, CNI_COMMAND: verb } });
    const executed = (await node.exec("grep", ["-c", "execve", `${node.dir}/trace`])).stdout;
    expect(`${verb} ${executed}`).toBe(`${verb} 1`);
  }
});
