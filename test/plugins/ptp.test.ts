import { expect, test } from "bun:test";
import { referenceDir } from "../../scripts/reference.ts";
import { contract } from "../helpers/contract.ts";
import { makeNode, type Node, uplink } from "../helpers/node.ts";
import { call, errorOf, must, ours, soak } from "../helpers/plugin.ts";
import { leftOver, snapshot } from "../helpers/snapshot.ts";

const reference = referenceDir().dir; // asked for here: inside a node no archive can be reached

const ipam = (...subnets: string[]) => ({
  type: "host-local",
  ranges: subnets.map((subnet) => [{ subnet }]),
  routes: subnets.map((subnet) => ({ dst: subnet.includes(":") ? "::/0" : "0.0.0.0/0" })),
});
const fixed = (...addresses: [address: string, gateway?: string][]) => ({
  type: "static",
  addresses: addresses.map(([address, gateway]) => ({ address, gateway })),
  routes: [{ dst: "0.0.0.0/0" }],
});
const dual = ipam("10.1.0.0/16", "fd00:1::/64");
const base = { cniVersion: "1.0.0", name: "net", type: "ptp", ipam: ipam("10.1.0.0/16") };

contract("ptp", {
  conf: { ipMasq: true, mtu: 1400, ipam: dual },
  bad: [
    { change: { mtu: "1500" }, names: ["mtu", "1500"] },
    { change: { mtu: -1 }, names: ["mtu", "-1"] },
    { change: { ipMasqBackend: "ebtables" }, names: ["ipMasqBackend", "ebtables"], code: 2 },
    { change: { masqExempt: ["10.0.0.0"] }, names: ["masqExempt[0]", "10.0.0.0"] },
    { change: { ipam: null }, names: ["ipam.type"] },
    { change: { ipam: {} }, names: ["ipam.type"] },
    { change: { ipam: { type: "no-such" } }, names: ["ipam.type", "no-such"] },
    { change: { ipam: { type: "static" } }, names: ["ipam.type", "static", "gave no address"] },
    { change: { ipam: fixed(["10.1.0.2/24"]) }, names: ["static", "10.1.0.2/24", "gateway"] },
    { change: { dns: { nameservers: "10.0.0.1" } }, names: ["dns.nameservers", "10.0.0.1"] },
  ],
  refusesDel: /ipam.type/,
  stays: /tenon|file \/var\/lib\/cni\/networks\/|file \/var\/lib\/cni\/networks$/,
});

/** The kernel's state as two suites must agree on it: what no name or counter of theirs is in. */
async function state(node: Node, pod: { exec: Node["exec"] }) {
  const json = async (exec: Node["exec"], ...args: string[]) =>
    JSON.parse((await exec("ip", ["-j", "-d", ...args])).stdout || "[]");
  const side = async (exec: Node["exec"]) => {
    const [link] = await json(exec, "link", "show", "type", "veth");
    const addresses = await json(exec, "addr", "show", "dev", link.ifname);
    const routes = [...(await json(exec, "route")), ...(await json(exec, "-6", "route"))];
    const sysctls = ["accept_ra", "keep_addr_on_down", "disable_ipv6"].map(
      (name) => `net.ipv6.conf.${link.ifname}.${name}`,
    );
    return {
      mtu: link.mtu,
      up: link.flags.includes("UP"),
      addresses: addresses.flatMap(({ addr_info }: any) =>
        addr_info
          .filter(({ scope }: any) => scope === "global")
          .map(({ local, prefixlen, broadcast }: any) => ({ local, prefixlen, broadcast })),
      ),
      routes: routes
        .filter(({ dst }: any) => !String(dst).startsWith("fe80"))
        .map(({ dst, gateway, metric, scope, prefsrc, type, metrics }: any) => {
          return { dst, gateway, metric, scope, prefsrc, type, metrics };
        }),
      sysctls: (await exec("sysctl", ["-n", ...sysctls])).stdout,
    };
  };
  const { stdout } = await node.exec("sysctl", ["-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]);
  return { pod: await side(pod.exec), host: await side(node.exec), forwarding: stdout };
}

/** A result without what each suite chooses for itself: the host link's name and MAC addresses. */
function comparable(result: any): any {
  const copy = structuredClone(result);
  copy.interfaces.forEach((one: any, at: number) => {
    expect(one.mac).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
    one.mac = "mac";
    if (at === 0) one.name = "host end";
  });
  return copy;
}

const name = (more: object) => ({ ...ipam("10.1.0.0/16"), ...more });
const own = {
  type: "static",
  addresses: [{ address: "10.1.0.2/24", gateway: "10.1.0.1" }],
  dns: { nameservers: ["192.0.2.5"] },
};
const configurations: [string, Record<string, unknown>][] = [
  ["IPv4", {}],
  ["IPv6", { ipam: ipam("fd00:1::/64") }],
  ["both families", { ipam: dual }],
  ["an MTU and a /31", { mtu: 1400, ipam: fixed(["10.1.0.2/31", "10.1.0.3"]) }],
  ["two subnets", { ipam: fixed(["10.1.0.2/24", "10.1.0.1"], ["10.2.0.3/24", "10.2.0.1"]) }],
  ["a gateway that is not the first address", { ipam: fixed(["10.1.0.2/24", "10.1.0.254"]) }],
  [
    "routes by other hosts of the subnet",
    { ipam: name({ routes: [{ dst: "192.168.0.0/16", gw: "10.1.0.7" }, { dst: "0.0.0.0/0" }] }) },
  ],
  ["no route and IPAM's name servers", { ipam: own }],
  ["its own name servers", { ipam: own, dns: { nameservers: ["192.0.2.9"], search: ["a.b"] } }],
  ["no name servers, by an empty list", { ipam: own, dns: { nameservers: [] } }],
  ["IPAM's name servers beside an empty domain", { ipam: own, dns: { domain: "" } }],
];

for (const [what, change] of configurations) {
  test(`ptp with ${what}: result and kernel state are the reference's, and each suite deletes what the other made`, async () => {
    const conf: any = { ...base, ...change };
    const orders: [adds: string, other: string][] = [
      [reference, ours],
      [ours, reference],
    ];
    const run = async ([adds, other]: [string, string]) => {
      await using node = await makeNode("diff");
      const before = await snapshot(node);
      const pod = await node.netns("pod");
      const result = await must(node, "ADD", conf, { netns: pod.path, bin: adds });
      const seen = { result: comparable(result), state: await state(node, pod) };
      const known = { ...conf, prevResult: result };
      for (const bin of [other, ours]) await must(node, "CHECK", known, { netns: pod.path, bin });
      await must(node, "DEL", known, { netns: pod.path, bin: other });
      const { stdout } = await pod.exec("ip", ["-j", "link"]);
      expect(JSON.parse(stdout).map(({ ifname }: any) => ifname)).toEqual(["lo"]);
      await pod.close();
      expect(leftOver(before, await snapshot(node), [/file \/run\/(netns|tenon)/, /var\/lib\/cni/])).toEqual([]);
      const files = await node.exec("sh", ["-c", "ls /var/lib/cni/networks/net 2>/dev/null || true"]);
      expect(files.stdout.split("\n").filter((file) => !/^(lock|last_reserved_ip\.\d+|)$/.test(file))).toEqual([]);
      return seen;
    };
    const seen = await Promise.all(orders.map(run));
    expect(seen[1]!.result).toEqual(seen[0]!.result);
    expect(seen[1]!.state).toEqual(seen[0]!.state);
  });
}

test("ptp: pod to pod, node to pod, pod to node, and pod to outside hidden behind the node, IPv4 and IPv6, at once", async () => {
  await using node = await makeNode("packets", { uplink: true });
  const conf = { ...base, name: "packets", ipMasq: true, ipam: dual };
  const pods = [await node.netns("a"), await node.netns("b")];
  const ping = (from: { exec: Node["exec"] }, to: string) => from.exec("ping", ["-c1", "-W1", to]);
  const addresses: string[][] = [];
  for (const pod of pods) {
    const { ips } = await must(node, "ADD", conf, { netns: pod.path, containerId: pod.name });
    addresses.push(ips.map(({ address }: any) => address.split("/")[0]));
  }
  for (const family of [1, 0]) {
    await ping(pods[0]!, addresses[1]![family]!);
    await ping(pods[1]!, addresses[0]![family]!);
    for (const pod of pods) await ping(pod, ["10.1.0.1", "fd00:1::1"][family]!);
    for (const [address] of [[addresses[0]![family]!], [addresses[1]![family]!]]) await ping(node, address!);
    // The outside has no route to pods: an answer proves that it saw the node's own address.
    await ping(pods[0]!, uplink.outside[family]!);
  }
  for (const pod of pods) await must(node, "DEL", conf, { netns: pod.path, containerId: pod.name });
});

test("ptp: an exempt network sees the pod's own address, others the node's", async () => {
  await using node = await makeNode("exempt", { uplink: true });
  const pod = await node.netns("pod");
  const outside = node.outside!;
  await outside.exec("ip", ["route", "add", "10.1.0.0/16", "via", uplink.node[0]]);
  await outside.exec("nft", ["add table ip heard; add chain ip heard in { type filter hook input priority 0; }"]);
  for (const masqExempt of [[], ["192.0.2.0/24"]]) {
    const conf = { ...base, ipMasq: true, masqExempt };
    const { ips } = await must(node, "ADD", conf, { netns: pod.path });
    const senders = [uplink.node[0], ips[0].address.split("/")[0]];
    const rules = senders.map((sender) => `add rule ip heard in ip saddr ${sender} icmp type echo-request counter`);
    await outside.exec("nft", [`flush chain ip heard in; ${rules.join("; ")}`]);
    await pod.exec("ping", ["-c1", "-W1", uplink.outside[0]]);
    const { stdout } = await outside.exec("nft", ["list", "chain", "ip", "heard", "in"]);
    const counts = [...stdout.matchAll(/packets (\d+)/g)].map(([, count]) => Number(count));
    expect(counts).toEqual(masqExempt.length > 0 ? [0, 1] : [1, 0]);
    await must(node, "DEL", conf, { netns: pod.path });
  }
});

test("ptp: every route field of 1.1.0 reaches the kernel, and the result names MTUs", async () => {
  await using node = await makeNode("routes");
  const routes = [
    { dst: "0.0.0.0/0", mtu: 1300, advmss: 1200, priority: 50 },
    { dst: "172.16.0.0/12", table: 100, gw: "10.1.0.9" },
    { dst: "192.168.0.0/16", scope: 253 },
  ];
  const conf = { ...base, cniVersion: "1.1.0", mtu: 1400, ipam: { ...ipam("10.1.0.0/16"), routes } };
  const pod = await node.netns("pod");
  const result = await must(node, "ADD", conf, { netns: pod.path });
  expect(result.interfaces.map(({ mtu }: any) => mtu)).toEqual([1400, 1400]);
  expect(result.interfaces[1].mac).toBe("0a:58:0a:01:00:02");
  const show = async (...args: string[]) => JSON.parse((await pod.exec("ip", ["-j", "route", "show", ...args])).stdout);
  expect(await show("default")).toMatchObject([
    { gateway: "10.1.0.1", metric: 50, metrics: [{ mtu: 1300, advmss: 1200 }] },
  ]);
  expect(await show("table", "100")).toMatchObject([{ dst: "172.16.0.0/12", gateway: "10.1.0.9" }]);
  expect(await show("192.168.0.0/16")).toMatchObject([{ dst: "192.168.0.0/16", scope: "link" }]);
  await must(node, "CHECK", { ...conf, prevResult: result }, { netns: pod.path });
  const { stdout } = await node.exec("ip", ["-j", "-d", "route", "show", "10.1.0.2"]);
  expect(JSON.parse(stdout)).toMatchObject([{ dst: "10.1.0.2", scope: "host", protocol: "116" }]);
});

test("ptp: what the reference cannot do: an address that is its own network, two of one subnet", async () => {
  await using node = await makeNode("more", { uplink: true });
  const pod = await node.netns("pod");
  for (const addresses of [
    [["10.1.0.2/32", "169.254.1.1"]],
    [
      ["10.1.0.2/24", "10.1.0.1"],
      ["10.1.0.3/24", "10.1.0.1"],
    ],
  ] as [string, string][][]) {
    const conf = { ...base, ipMasq: true, ipam: fixed(...addresses) };
    const prevResult = await must(node, "ADD", conf, { netns: pod.path });
    for (const [address] of addresses) await node.exec("ping", ["-c1", "-W1", address.split("/")[0]!]);
    await pod.exec("ping", ["-c1", "-W1", uplink.outside[0]]);
    await must(node, "CHECK", { ...conf, prevResult }, { netns: pod.path });
    await must(node, "DEL", { ...conf, prevResult }, { netns: pod.path });
  }
});

test("ptp CHECK finds what was taken away", async () => {
  await using node = await makeNode("check");
  const conf = { ...base, name: "check", ipMasq: true, ipam: dual };
  const pod = await node.netns("pod");
  const at = { netns: pod.path };
  const breaks: [where: "pod" | "node", command: string, names: string][] = [
    ["pod", "ip addr del IP4/16 dev eth0", "IP4/16"],
    ["pod", "ip route del default", "0.0.0.0/0"],
    ["pod", "ip route del 10.1.0.0/16", "10.1.0.0/16"],
    ["pod", "ip route flush 10.1.0.1", "10.1.0.1/32"],
    ["pod", "ip -6 route del fd00:1::/64", "fd00:1::/64"],
    ["pod", "ip link set eth0 down", "eth0"],
    ["pod", "ip link set eth0 address 02:00:00:00:00:99", "02:00:00:00:00:99"],
    ["node", "ip route del IP4", "IP4/32"],
    ["node", "ip -6 route del IP6", "IP6/128"],
    ["node", "ip addr del 10.1.0.1/32 dev LINK", "10.1.0.1"],
    ["node", "ip link set LINK down", "down"],
    ["node", "nft delete table inet tenon", "masquerade"],
    ["node", "rm /var/lib/cni/networks/check/10.1.0.*", "reservation"],
  ];
  for (const [where, command, names] of breaks) {
    const result = await must(node, "ADD", conf, at);
    const [ip4, ip6] = result.ips.map(({ address }: any) => address.split("/")[0]);
    const fill = (text: string) =>
      text.replaceAll("IP4", ip4).replaceAll("IP6", ip6).replaceAll("LINK", result.interfaces[0].name);
    const known = { ...conf, prevResult: result };
    await must(node, "CHECK", known, at);
    await (where === "pod" ? pod : node).exec("sh", ["-c", fill(command)]);
    const { msg, code } = errorOf(await call(node, "CHECK", known, at));
    expect(msg.toLowerCase()).toContain(fill(names));
    expect(code).toBe(101);
    await must(node, "DEL", known, at);
  }
});

test("ptp: an attachment left in an earlier namespace makes room, also where another gets its address", async () => {
  await using node = await makeNode("again");
  const [old, fresh] = [await node.netns("old"), await node.netns("fresh")];
  const conf = { ...base, ipam: fixed(["10.1.0.2/24", "10.1.0.1"]) };
  await must(node, "ADD", conf, { netns: old.path });
  await must(node, "ADD", conf, { netns: fresh.path });
  expect((await old.exec("ip", ["-br", "link", "show", "eth0"], { reject: false })).exitCode).toBe(1);
  await must(node, "ADD", conf, { netns: old.path, containerId: "c2" });
  await node.exec("ping", ["-c1", "-W1", "10.1.0.2"]);
  await old.exec("ping", ["-c1", "-W1", "10.1.0.1"]);

  // Of another network it is somebody else's address.
  await must(node, "DEL", conf, { netns: fresh.path });
  const before = await snapshot(node);
  const error = errorOf(await call(node, "ADD", { ...conf, name: "other" }, { netns: fresh.path }));
  expect(error).toMatchObject({ code: 102, msg: expect.stringContaining("net/c2/eth0") });
  expect(leftOver(before, await snapshot(node))).toEqual([]);
});

test("ptp: an ADD that fails at any step leaves nothing, and gives its address back", async () => {
  await using node = await makeNode("undo");
  const pod = await node.netns("pod");
  const failing = [
    { ipam: name({ routes: [{ dst: "10.9.0.0/16", gw: "10.200.0.1" }] }) }, // a next hop that is nowhere
    { ipam: { ...dual, routes: [{ dst: "::/0", gw: "fd00:99::1" }] } },
    { mtu: 60 }, // under what IPv6 needs, so no IPv6 there
  ].map((change) => ({ ...base, ipam: dual, ipMasq: true, ...change }));
  const before = [await snapshot(node), await snapshot(pod)];
  for (const conf of failing) {
    errorOf(await call(node, "ADD", conf, { netns: pod.path }));
    expect(leftOver(before[1]!, await snapshot(pod))).toEqual([]);
    expect(
      leftOver(before[0]!, await snapshot(node), [
        /networks(\/net(\/(lock|last_reserved_ip\.\d)?)?)?\/?$/,
        /run\/tenon/,
      ]),
    ).toEqual([]);
  }
});

test("ptp: where /proc/sys may not be written, and with masquerade that was switched off since, nothing is left", async () => {
  await using node = await makeNode("read-only");
  const pod = await node.netns("pod");
  const before = [await snapshot(node), await snapshot(pod)];
  const known = [/networks(\/net(\/(lock|last_reserved_ip\.\d)?)?)?\/?$/, /run\/tenon/];
  const conf = { ...base, ipam: dual };
  await node.exec("sh", ["-ec", "mount --bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys"]);
  expect(errorOf(await call(node, "ADD", conf, { netns: pod.path })).msg).toContain("ip_forward");
  expect(leftOver(before[0]!, await snapshot(node), known)).toEqual([]);
  expect(leftOver(before[1]!, await snapshot(pod))).toEqual([]);
  const prevResult = await node
    .exec("sh", ["-ec", "umount /proc/sys"])
    .then(() => must(node, "ADD", { ...conf, ipMasq: true }, { netns: pod.path }));
  await must(node, "DEL", { ...conf, prevResult }, { netns: pod.path });
  expect((await node.exec("nft", ["list", "ruleset"])).stdout).not.toContain("net/c1/eth0");
});

test("ptp runs no program", async () => {
  await using node = await makeNode("trace");
  const pod = await node.netns("pod");
  const conf = { ...base, cniVersion: "1.1.0", name: "trace", ipMasq: true, ipam: dual };
  const env = { CNI_CONTAINERID: "c1", CNI_NETNS: pod.path, CNI_IFNAME: "eth0", CNI_PATH: ours };
  let prevResult: unknown;
  for (const verb of ["ADD", "CHECK", "STATUS", "DEL", "GC", "VERSION"]) {
    const input = JSON.stringify({ ...conf, prevResult, "cni.dev/valid-attachments": [] });
    const trace = ["-f", "-qq", "-e", "trace=execve,execveat", "-o", `${node.dir}/trace`, `${ours}/ptp`];
    const { stdout } = await node.exec("strace", trace, { input, env: { ...env, CNI_COMMAND: verb } });
    if (verb === "ADD") prevResult = JSON.parse(stdout);
    const executed = (await node.exec("grep", ["-c", "execve", `${node.dir}/trace`])).stdout;
    expect(`${verb} ${executed}`).toBe(`${verb} 1`);
  }
});

test("ptp: many pods at once get as many addresses and routes, and leave nothing", async () => {
  await using node = await makeNode("many");
  const count = soak ? 100 : 20;
  const conf = { ...base, name: "many", ipMasq: true };
  const before = await snapshot(node);
  const pods = [];
  for (let i = 0; i < count; i++) pods.push(await node.netns(`p${i}`));
  const at = (pod: { path: string; name: string }) => ({ netns: pod.path, containerId: pod.name, timeout: 60_000 });
  const results = await Promise.all(pods.map((pod) => must(node, "ADD", conf, at(pod))));
  expect(new Set(results.map(({ ips }) => ips[0].address)).size).toBe(count);
  await pods[0]!.exec("ping", ["-c1", "-W2", results[count - 1].ips[0].address.split("/")[0]]);
  await Promise.all(pods.map((pod, i) => must(node, "DEL", { ...conf, prevResult: results[i] }, at(pod))));
  for (const pod of pods) await pod.close();
  expect(
    leftOver(before, await snapshot(node), [
      /tenon/,
      /var\/lib\/cni\/networks(\/many(\/(lock|last_reserved_ip\.0)?)?)?\/?$/,
    ]),
  ).toEqual([]);
});
