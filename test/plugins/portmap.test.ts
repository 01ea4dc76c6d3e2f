// Verbs, packets and comparison with the reference. The common contract does not fit: it attaches two containers with one
// configuration, and a host's port leads to one of them.
import { expect, test } from "bun:test";
import { referenceDir } from "../../scripts/reference.ts";
import { ask, startEcho, type Target } from "../helpers/echo.ts";
import { makeNode, type Netns, type Node, uplink } from "../helpers/node.ts";
import { type Call, call, errorOf, must, ours } from "../helpers/plugin.ts";
import { leftOver, settled, snapshot } from "../helpers/snapshot.ts";

const reference = referenceDir().dir;
const versions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const both = (hostPort: number, containerPort: number, more = {}) =>
  ["tcp", "udp"].map((protocol) => ({ hostPort, containerPort, protocol, ...more }));
const web = both(8080, 80);

/** A result in the words of every version at once; each one reads its own. */
const prevResult = (last: number, netns: string, ifname = "eth0") => ({
  interfaces: [{ name: "cni0" }, { name: ifname, sandbox: netns }],
  ips: [
    { version: "4", interface: 1, address: `10.1.0.${last}/16` },
    { version: "6", interface: 1, address: `fd00:1::${last}/64` },
  ],
  ip4: { ip: `10.1.0.${last}/16` },
  ip6: { ip: `fd00:1::${last}/64` },
});

const conf = (portMappings: unknown, change: Record<string, unknown> = {}) => ({
  ...{ cniVersion: "1.1.0", name: "net", type: "portmap", capabilities: { portMappings: true } },
  ...{ runtimeConfig: { portMappings }, prevResult: prevResult(2, "/run/netns/pod") },
  ...change,
});
const without = ({ prevResult: _, ...rest }: ReturnType<typeof conf>, change = {}) => ({ ...rest, ...change });

/** What is a node's or a network's and not a pod's. */
const stays = [...settled, /^\+ nft \{"map":(?!.*"elem")/, /^. file \/run\/netns/];
const left = (before: string[], after: string[]) => leftOver(before, after, stays);

/** Elements of maps and sets in table tenon: "KEY LABEL". */
async function comments(node: Node): Promise<string[]> {
  const { stdout } = await node.exec("nft", ["-j", "list", "ruleset"]);
  const words = (key: any) => (typeof key === "string" ? key : key.concat.join(" . "));
  return JSON.parse(stdout)
    .nftables.flatMap(({ map, set }: any) => (map?.elem ?? []).map(([one]: any) => one).concat(set?.elem ?? []))
    .map(({ elem: { val, comment } }: any) => `${words(val)} ${comment}`)
    .sort();
}

test("VERSION lists the versions without reading stdin", async () => {
  await using node = await makeNode("portmap");
  const { json } = await call(node, "VERSION", "", { type: "portmap" });
  expect(json).toEqual({ cniVersion: "1.1.0", supportedVersions: versions });
});

test("ADD gives back prevResult as the reference does, CHECK agrees and DEL leaves nothing, in every version", async () => {
  await using node = await makeNode("portmap");
  await node.netns("pod");
  const before = await snapshot(node);
  const at = { netns: "/run/netns/pod" };
  for (const cniVersion of versions) {
    const given = { ...conf(web, { cniVersion }), prevResult: { ...prevResult(2, at.netns), cniVersion } };
    const result = await must(node, "ADD", given, at);
    expect(await must(node, "ADD", given, { ...at, bin: reference })).toEqual(result);
    expect(await comments(node)).toContain("tcp . 8080 net/c1/eth0");
    if (cniVersion >= "0.4.0") await must(node, "CHECK", { ...given, prevResult: result }, at);
    else expect(errorOf(await call(node, "CHECK", given, at)).code).toBe(1);
    await must(node, "DEL", cniVersion >= "0.4.0" ? { ...given, prevResult: result } : without(given), at);
    await must(node, "DEL", given, { ...at, bin: reference });
    for (const family of ["ip", "ip6"]) await node.exec("nft", ["delete", "table", family, "nat"]);
    expect(left(before, await snapshot(node))).toEqual([]);
  }
});

test("nothing mapped: nothing is done, whatever else is wrong, and DEL makes nothing", async () => {
  await using node = await makeNode("portmap");
  await node.netns("pod");
  const before = await snapshot(node);
  const at = { netns: "/run/netns/pod" };
  for (const change of [
    {},
    { runtimeConfig: {} },
    { runtimeConfig: null },
    { backend: "x", conditionsV4: ["-m", "x"] },
  ]) {
    for (const verb of ["ADD", "CHECK", "DEL"]) await must(node, verb, conf([], change), at);
  }
  await must(node, "DEL", without(conf(web)));
  await must(node, "GC", without(conf(web), { "cni.dev/valid-attachments": [] }));
  await must(node, "STATUS", without(conf(web)));
  expect(left(before, await snapshot(node)).filter((line) => !line.includes("/run/"))).toEqual([]);
  expect((await node.exec("nft", ["list", "ruleset"])).stdout).toBe("");
});

test("DEL needs neither ports, prevResult nor namespace, and is not misled by wrong ones", async () => {
  await using node = await makeNode("portmap");
  const pod = await node.netns("pod");
  const before = await snapshot(node);
  const at = { netns: pod.path };
  const odd: object[] = [
    conf(web),
    without(conf(web)),
    without(conf([])),
    without(conf(web), { runtimeConfig: undefined }),
    conf(both(9999, 80)),
    conf([{ hostPort: 0, containerPort: 0, protocol: "icmp" }]),
    conf("none"),
    conf(web, { prevResult: { cniVersion: "9.9.9" } }),
    conf(web, { prevResult: { ips: "none" } }),
    conf(web, { prevResult: prevResult(9, at.netns) }),
    conf(web, { conditionsV4: ["-m", "owner"], markMasqBit: 77, backend: "x", snat: false }),
    conf(web, { conditionsV4: ["-p", "tcp"] }),
    conf([...both(8080, 80), ...both(8080, 81)]),
  ];
  for (const given of odd) {
    for (const netns of [at.netns, "", "/run/netns/none", "/etc/hostname"]) {
      await must(node, "ADD", conf(web), at);
      await must(node, "DEL", given, { netns });
      expect(await comments(node)).toEqual([]);
      await must(node, "DEL", given, { netns });
    }
  }
  await pod.close();
  await must(node, "DEL", conf(web), at);
  expect(left(before, await snapshot(node))).toEqual([]);
});

test("a range of thousands of ports is published, checked and taken away by its ports", async () => {
  await using node = await makeNode("portmap");
  await node.netns("pod");
  const at = { netns: "/run/netns/pod" };
  const many = Array.from({ length: 4000 }, (_, at) => ({
    hostPort: 20_000 + at,
    containerPort: at + 1,
    protocol: "udp",
  }));
  await must(node, "ADD", conf(many), at);
  expect((await comments(node)).filter((line) => line.startsWith("udp . "))).toHaveLength(8000);
  await must(node, "CHECK", conf(many), at);
  await must(node, "DEL", conf(many), at);
  expect(await comments(node)).toEqual([]);
});

const first = "runtimeConfig.portMappings[0]";
const mapping = (change: object) => [{ hostPort: 8080, containerPort: 80, protocol: "tcp", ...change }];

const bad: [ports: unknown, change: object, names: string[], code: number][] = [
  [mapping({ hostPort: 0 }), {}, [`${first}.hostPort 0`, "1 to 65535"], 7],
  [mapping({ hostPort: 65536 }), {}, [`${first}.hostPort 65536`], 7],
  [mapping({ hostPort: -1 }), {}, [`${first}.hostPort -1`], 7],
  [mapping({ hostPort: "80" }), {}, [`${first}.hostPort "80"`], 7],
  [mapping({ containerPort: 0 }), {}, [`${first}.containerPort 0`], 7],
  [mapping({ containerPort: 65536 }), {}, [`${first}.containerPort 65536`], 7],
  [mapping({ protocol: "icmp" }), {}, [`${first}.protocol "icmp"`, "tcp, udp, sctp"], 7],
  [mapping({ protocol: 6 }), {}, [`${first}.protocol 6`], 7],
  [mapping({ hostIP: "localhost" }), {}, [`${first}.hostIP "localhost"`], 7],
  [mapping({ hostIP: "192.0.2.256" }), {}, [`${first}.hostIP "192.0.2.256"`], 7],
  [mapping({ containerPort: undefined }), {}, [`${first}.containerPort`, "required"], 7],
  [[...mapping({}), ...mapping({ containerPort: 81 })], {}, ["tcp port 8080", "twice"], 7],
  ["none", {}, ["runtimeConfig.portMappings", "list"], 7],
  [[null], {}, [first], 7],
  [web, { backend: "ipfw" }, ["backend", "ipfw"], 2],
  [web, { markMasqBit: 32 }, ["markMasqBit 32"], 7],
  [web, { markMasqBit: 1, externalSetMarkChain: "X" }, ["externalSetMarkChain", "markMasqBit"], 7],
  [web, { conditionsV4: ["-m", "owner"] }, ["conditionsV4", "-m"], 2],
  [web, { conditionsV6: ["ip", "daddr", "192.0.2.1"] }, ["conditionsV6", "family"], 2],
  [web, { snat: "yes" }, ["snat", "yes"], 7],
  [web, { prevResult: undefined }, ["prevResult", "makes the interface"], 7],
];

test("what is wrong is refused by key and value, and changes nothing", async () => {
  await using node = await makeNode("portmap");
  await node.netns("pod");
  const before = await snapshot(node);
  for (const [ports, change, names, code] of bad) {
    const error = errorOf(await call(node, "ADD", conf(ports, { ...change }), { netns: "/run/netns/pod" }));
    for (const name of names) expect(error.msg).toContain(name);
    expect(error).toMatchObject({ code });
  }
  expect(leftOver(before, await snapshot(node))).toEqual([]);
});

test("a pod that is gone is refused", async () => {
  await using node = await makeNode("portmap");
  for (const netns of ["/run/netns/none", "/etc/hostname"])
    expect(errorOf(await call(node, "ADD", conf(web), { netns })).msg).toContain(netns);
});

test("the second pod that asks for a port is told who has it, and gets it after that one's DEL", async () => {
  await using node = await makeNode("portmap");
  const at = { netns: (await node.netns("pod")).path };
  await must(node, "ADD", conf(web), at);
  const before = await snapshot(node);
  const second = conf(web, { prevResult: prevResult(3, at.netns) });
  const error = errorOf(await call(node, "ADD", second, { ...at, containerId: "c2" }));
  expect(error.msg).toBe('Cannot publish tcp port 8080 of every address: attachment "net/c1/eth0" has it');
  expect(error.code).toBe(102);
  await must(node, "DEL", second, { ...at, containerId: "c2" }); // what containerd does next
  expect(leftOver(before, await snapshot(node))).toEqual([]);
  await must(node, "DEL", conf(web), at);
  await must(node, "ADD", second, { ...at, containerId: "c2" });
  expect(await comments(node)).toContain("udp . 8080 net/c2/eth0");
});

test("two networks of one container, and two interfaces, are apart", async () => {
  await using node = await makeNode("portmap");
  const at = { netns: (await node.netns("pod")).path };
  await must(node, "ADD", conf(web), at);
  await must(node, "ADD", conf(both(8081, 81), { name: "other" }), at);
  const second = conf(both(8082, 82), { prevResult: prevResult(3, at.netns, "eth1") });
  await must(node, "ADD", second, { ...at, ifname: "eth1" });
  await must(node, "DEL", without(conf([], { name: "other" })));
  const labels = new Set((await comments(node)).map((line) => line.split(" ").at(-1)));
  expect([...labels].sort()).toEqual(["net/c1/eth0", "net/c1/eth1"]);
});

test("GC removes what is not in the list, keeps what is, and refuses without one", async () => {
  await using node = await makeNode("portmap");
  const before = await snapshot(node);
  const at = { netns: (await node.netns("pod")).path };
  await must(node, "ADD", conf(web), { ...at, containerId: "alive" });
  const living = await snapshot(node);
  await must(node, "ADD", conf(both(8081, 81), { prevResult: prevResult(3, at.netns) }), {
    ...at,
    containerId: "dead",
  });
  const gc = (containerID: string[], name = "net") =>
    without(conf([]), {
      name,
      "cni.dev/valid-attachments": containerID.map((id) => ({ containerID: id, ifname: "eth0" })),
    });
  expect(errorOf(await call(node, "GC", without(conf([])))).msg).toContain("valid-attachments");
  await must(node, "GC", gc([], "elsewhere"));
  expect(await comments(node)).toHaveLength(16);
  await must(node, "GC", gc(["alive"]));
  expect(left(living, await snapshot(node))).toEqual([]);
  await must(node, "GC", gc([]));
  expect(leftOver(before, await snapshot(node), [/file \/run\/(netns|tenon)/])).toEqual([]);
});

test("CHECK finds a port that was taken away", async () => {
  await using node = await makeNode("portmap");
  const at = { netns: (await node.netns("pod")).path };
  await must(node, "ADD", conf(web), at);
  await must(node, "CHECK", conf(web), at);
  expect(errorOf(await call(node, "CHECK", conf([...web, ...both(9, 9)]), at))).toMatchObject({ code: 101 });
  await node.exec("nft", ["delete element inet tenon ports/ip6 { udp . 8080 }"]);
  const { code, msg } = errorOf(await call(node, "CHECK", conf(web), at));
  expect({ code, msg }).toMatchObject({ code: 101, msg: expect.stringContaining("port 8080 of net/c1/eth0") });
});

test("mappings as clients write them: any case, empty and missing texts, the addresses of the container's interface", async () => {
  await using node = await makeNode("portmap");
  const at = { netns: (await node.netns("pod")).path };
  const portMappings = [
    { HostPort: 1001, ContainerPort: 1, Protocol: "TCP", HostIP: "" },
    { hostPort: 1002, containerPort: 2 },
    { hostPort: 1003, containerPort: 3, protocol: "Sctp", hostIP: "0.0.0.0" },
    { hostPort: 1004, containerPort: 4, protocol: "udp", hostIP: "::ffff:192.0.2.1" },
    { hostPort: 1005, containerPort: 5, protocol: "udp", hostIP: "2001:DB8::1", range: 1 },
  ];
  const result = {
    interfaces: [{ name: "cni0" }, { name: "eth0", sandbox: at.netns }, { name: "eth1", sandbox: at.netns }],
    ips: [
      { interface: 0, address: "10.9.0.1/16" },
      { interface: 2, address: "10.9.0.2/16" },
      { interface: 1, address: "10.1.0.2/16" },
      { interface: 1, address: "10.1.0.3/16" },
      { address: "fd00:1::2/64" },
    ],
  };
  await must(node, "ADD", conf(portMappings, { snat: false, prevResult: result }), at);
  const { stdout } = await node.exec("nft", ["list", "ruleset"]);
  const maps = [...stdout.matchAll(/(\S+(?: \. \S+)+) counter.* : (.*?)(?:,| \})/g)].map(
    ([, key, to]) => `${key} ${to}`,
  );
  expect(maps.sort()).toEqual([
    "192.0.2.1 . udp . 1004 10.1.0.2 . 4",
    "2001:db8::1 . udp . 1005 fd00:1::2 . 5",
    "sctp . 1003 10.1.0.2 . 3",
    "tcp . 1001 10.1.0.2 . 1",
    "tcp . 1001 fd00:1::2 . 1",
    "tcp . 1002 10.1.0.2 . 2",
    "tcp . 1002 fd00:1::2 . 2",
  ]);
});

test("what cannot be published is said on stderr", async () => {
  await using node = await makeNode("portmap");
  const at = { netns: (await node.netns("pod")).path };
  const ports = [...mapping({ hostIP: "::1" }), ...mapping({ hostIP: "192.0.2.1" })];
  const only6 = { ips: [{ address: "fd00:1::2/64" }] };
  const { exitCode, stderr } = await call(node, "ADD", conf(ports, { prevResult: only6 }), at);
  expect(exitCode).toBe(0);
  expect(stderr).toContain("[::1]:8080");
  expect(stderr).toContain("port 8080 of 192.0.2.1");
});

const bridge = {
  ...{ cniVersion: "1.1.0", name: "net", type: "bridge", isDefaultGateway: true, hairpinMode: true },
  ipam: { type: "host-local", ranges: [[{ subnet: "10.1.0.0/16" }], [{ subnet: "fd00:1::/64" }]] },
};

/** Pods on a bridge of a node that has an outside; the bridge answers to IPv6. */
async function town(node: Node, ...names: string[]): Promise<{ pod: Netns; result: any }[]> {
  const pods = [];
  // The bridge would test its link-local address for a second, and find no neighbour before.
  await node.exec("sysctl", ["-qw", "net.ipv6.conf.default.accept_dad=0"]);
  for (const name of names) {
    const pod = await node.netns(name);
    const result = await must(node, "ADD", bridge, { netns: pod.path, containerId: name });
    await pod.exec("ip", ["link", "set", "lo", "up"]);
    pods.push({ pod, result });
  }
  const ready = "while ip -6 addr show dev cni0 tentative | grep inet6 > /dev/null; do sleep 0.05; done";
  await node.exec("sh", ["-c", ready]);
  return pods;
}

const addresses = { outside: uplink.node, node: ["127.0.0.1", "10.1.0.1", ...uplink.node], pods: uplink.node };
const each = (hosts: readonly string[], port = 8080) =>
  hosts.flatMap((host): Target[] => [
    ["tcp", host, port],
    ["udp", host, port],
  ]);

/** What the outside, the node, a neighbour and the pod itself hear at port 8080. */
async function hear(node: Node, [one, other]: { pod: Netns }[]) {
  return {
    outside: await ask(node.outside!, each(addresses.outside)),
    node: await ask(node, each(addresses.node)),
    neighbour: await ask(other!.pod, each(addresses.pods)),
    itself: await ask(one!.pod, each(addresses.pods)),
  };
}

/** By whom the pod was heard, for hosts in order; each over TCP and UDP. */
const heard = (...clients: string[]) => clients.flatMap((client) => [`one ${client}`, `one ${client}`]);
const [nodeFour, nodeSix] = uplink.node;
const [outFour, outSix] = uplink.outside;
const usual = {
  outside: heard(outFour, outSix),
  node: heard("10.1.0.1", "10.1.0.1", nodeFour, nodeSix),
  neighbour: heard("10.1.0.1", "fd00:1::1"),
  itself: heard("10.1.0.1", "fd00:1::1"),
};

async function filterBridged(node: Node, on: 0 | 1): Promise<void> {
  const names = ["iptables", "ip6tables"].map((name) => `net.bridge.bridge-nf-call-${name}=${on}`);
  await node.exec("sysctl", ["-qw", ...names]);
}

test.each([
  ["ours", ours, {}],
  ["the reference with iptables", reference, { backend: "iptables" }],
])(
  "ports of %s are reached from outside, the node, its loopback, a neighbour and the pod itself, bridged frames filtered or not",
  async (_, bin, change) => {
    await using node = await makeNode("reach", { uplink: true });
    const pods = await town(node, "one", "other");
    const given = conf(web, { ...change, prevResult: pods[0]!.result });
    await must(node, "ADD", given, { netns: pods[0]!.pod.path, containerId: "one", bin });
    await startEcho(node, pods[0]!.pod, "one", [80]);
    for (const on of [0, 1] as const) {
      await filterBridged(node, on);
      expect(await hear(node, pods)).toEqual(usual);
    }
    await must(node, "DEL", given, { netns: pods[0]!.pod.path, containerId: "one", bin });
    expect(await ask(node, each(["127.0.0.1", nodeFour, nodeSix]))).toEqual(new Array(6).fill("ECONNREFUSED"));
  },
);

test("localhost is refused over IPv6, so that clients try IPv4; pods do not reach the node's loopback", async () => {
  await using node = await makeNode("loopback", { uplink: true });
  const [one] = await town(node, "one");
  await must(node, "ADD", conf(web, { prevResult: one!.result }), { netns: one!.pod.path, containerId: "one" });
  expect(await ask(node, each(["::1"]))).toEqual(["ECONNREFUSED", "ECONNREFUSED"]);
  await startEcho(node, { ...one!.pod, path: "/proc/1/ns/net" }, "node", [9000]);
  expect(await ask(node, each(["127.0.0.1"], 9000))).toEqual(["node 127.0.0.1", "node 127.0.0.1"]);
  // A pod that sends packets for 127.0.0.1 to the node: route_localnet would let them in.
  const trick = `ip addr del 127.0.0.1/8 dev lo; ip route del local 127.0.0.0/8 table local 2>/dev/null
    sysctl -qw net.ipv4.conf.all.route_localnet=1; ip route add 127.0.0.0/8 via 10.1.0.1`;
  await one!.pod.exec("sh", ["-c", trick]);
  expect(await ask(one!.pod, each(["127.0.0.1"], 9000))).toEqual(["timeout", "timeout"]);
  await node.exec("nft", ["flush", "chain", "inet", "tenon", "prerouting"]);
  expect(await ask(one!.pod, [["tcp", "127.0.0.1", 9000]])).toEqual(["node 10.1.0.2"]);
});

test("snat false hides nobody, masqAll everybody", async () => {
  await using node = await makeNode("hide", { uplink: true });
  const pods = await town(node, "one", "other");
  await startEcho(node, pods[0]!.pod, "one", [80]);
  const at = { netns: pods[0]!.pod.path, containerId: "one" };
  const add = async (change: object) => {
    await must(node, "DEL", conf(web), at);
    await must(node, "ADD", conf(web, { ...change, prevResult: pods[0]!.result }), at);
  };
  await add({ snat: false });
  expect(await ask(node.outside!, each(addresses.outside))).toEqual(usual.outside);
  await filterBridged(node, 0);
  expect(await ask(pods[1]!.pod, each([nodeFour]))).toEqual(["timeout", "timeout"]); // answers miss the node
  await filterBridged(node, 1);
  expect(await ask(pods[1]!.pod, each([nodeFour]))).toEqual(heard("10.1.0.3"));
  await add({ masqAll: true });
  expect(await ask(node.outside!, each(addresses.outside))).toEqual(heard("10.1.0.1", "fd00:1::1"));
});

test("a port of one address, of one family, and under conditions leads from there alone", async () => {
  await using node = await makeNode("some", { uplink: true });
  const pods = await town(node, "one", "other");
  await startEcho(node, pods[0]!.pod, "one", [80, 81]);
  await startEcho(node, pods[1]!.pod, "other", [80]);
  const add = async (at: number, ports: object[], change = {}) => {
    const { pod, result } = pods[at]!;
    await must(node, "ADD", conf(ports, { ...change, prevResult: result }), { netns: pod.path, containerId: `c${at}` });
  };
  await add(0, [...both(8080, 80, { hostIP: "127.0.0.1" }), ...both(8081, 81, { hostIP: "::" })]);
  await add(1, both(8080, 80), { conditionsV4: ["!", "-d", "10.1.0.1"], conditionsV6: ["ip6", "saddr", outSix] });
  const refused = ["ECONNREFUSED", "ECONNREFUSED"];
  expect(await ask(node, each(["127.0.0.1", "10.1.0.1", nodeFour, nodeSix]))).toEqual([
    ...["other 10.1.0.1", "other 10.1.0.1"], // conditions come first
    ...refused,
    ...[`other ${nodeFour}`, `other ${nodeFour}`],
    ...refused,
  ]);
  expect(await ask(node.outside!, each(uplink.node))).toEqual([
    ...[`other ${outFour}`, `other ${outFour}`],
    ...[`other ${outSix}`, `other ${outSix}`],
  ]);
  expect(await ask(node.outside!, each(uplink.node, 8081))).toEqual([...refused, ...heard(outSix)]);
  await must(node, "DEL", without(conf([])), { containerId: "c1" });
  expect(await ask(node, each(["127.0.0.1"]))).toEqual(heard("10.1.0.1"));
  expect(await ask(node.outside!, each([nodeFour]))).toEqual(refused);
});

test("a UDP client that goes on sending is led to the new pod by ADD, and nowhere after DEL; others are left alone", async () => {
  await using node = await makeNode("udp", { uplink: true });
  const pods = await town(node, "one", "other");
  for (const { pod } of pods) await startEcho(node, pod, pod.name, [80]);
  await startEcho(node, node.outside!, "outside", [8080]);
  await node.outside!.exec("ip", ["route", "add", "10.1.0.0/16", "via", nodeFour]);
  const client = async () =>
    (
      await Promise.all([
        ask(node.outside!, [["udp", nodeFour, 8080, 5001]]),
        ask(node.outside!, [["udp", nodeSix, 8080, 5002]]),
      ])
    ).flat();
  const flows = async () => (await node.exec("cat", ["/proc/net/nf_conntrack"])).stdout.split("\n");
  const at = ({ pod }: { pod: Netns }): Call => ({ netns: pod.path, containerId: pod.name });
  const given = ({ result }: { result: object }) => conf(web, { prevResult: result });
  // Rules that look at connections, so that there is something to remember before the first port.
  await node.exec("nft", [
    "add table inet t; add chain inet t c { type filter hook input priority 0; }; add rule inet t c ct state new",
  ]);
  expect(await client()).toEqual(["ECONNREFUSED", "ECONNREFUSED"]);
  expect(await ask(pods[0]!.pod, [["udp", outFour, 8080, 5003]])).toEqual(["outside 10.1.0.2"]);
  await must(node, "ADD", given(pods[0]!), at(pods[0]!));
  expect(await client()).toEqual([`one ${outFour}`, `one ${outSix}`]);
  await must(node, "DEL", given(pods[0]!), at(pods[0]!));
  expect(await client()).toEqual(["ECONNREFUSED", "ECONNREFUSED"]);
  await must(node, "ADD", given(pods[1]!), at(pods[1]!));
  expect(await client()).toEqual([`other ${outFour}`, `other ${outSix}`]);
  await must(node, "DEL", without(given(pods[1]!)), { containerId: "other" });
  const own = (await flows()).filter((line) => line.includes("dport=8080"));
  expect(own).toHaveLength(1);
  expect(own[0]).toContain("sport=5003"); // only passed through
});

test("other network's neighbours keep their address, and what others lead to the pod is not hidden", async () => {
  await using node = await makeNode("others", { uplink: true });
  const [one, other] = await town(node, "one", "other");
  await startEcho(node, one!.pod, "one", [80]);
  await must(node, "ADD", conf(web, { prevResult: one!.result }), { netns: one!.pod.path, containerId: "one" });
  const far = await node.netns("far");
  const second = { ...bridge, name: "second", bridge: "cni1", ipam: { type: "host-local", subnet: "10.2.0.0/16" } };
  await must(node, "ADD", second, { netns: far.path, containerId: "far" });
  expect(await ask(far, each([nodeFour]))).toEqual(heard("10.2.0.2"));
  // A service of the same port, as a proxy makes it: what it leads there is its own affair.
  const service = "ip daddr 10.96.0.10 meta l4proto { tcp, udp } th dport 8080 dnat ip to 10.1.0.2:80";
  await node.exec("nft", ["-f", "-"], {
    input: `table inet proxy { chain c { type nat hook prerouting priority -100; ${service}\n }\n }\n`,
  });
  await filterBridged(node, 1);
  expect(await ask(other!.pod, each(["10.96.0.10"]))).toEqual(heard("10.1.0.3"));
  expect(await ask(other!.pod, each([nodeFour]))).toEqual(heard("10.1.0.1"));
});

test("no program is run", async () => {
  await using node = await makeNode("trace");
  const at = { netns: (await node.netns("pod")).path };
  const folder = `${node.dir}/bin`;
  await node.exec("sh", [
    "-c",
    `mkdir ${folder}; printf '#!/bin/sh\\nexec strace -f -e trace=execve -o ${node.dir}/trace ${ours}/portmap\\n' > ${folder}/portmap; chmod 755 ${folder}/portmap`,
  ]);
  for (const verb of ["ADD", "CHECK", "DEL"]) {
    await must(node, verb, conf(web), { ...at, bin: folder });
    const { stdout } = await node.exec("grep", ["-c", "execve(", `${node.dir}/trace`]);
    expect(stdout).toBe("1");
  }
});
