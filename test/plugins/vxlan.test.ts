// Verbs of the plugin, and what stands in its way. Packets: test/peers/paths.test.ts.
import { expect, test } from "bun:test";
import { contract } from "../helpers/contract.ts";
import { makeNode, type Node } from "../helpers/node.ts";
import { call, errorOf, must } from "../helpers/plugin.ts";
import { leftOver, snapshot } from "../helpers/snapshot.ts";
import { attach, type Chain, chainOf, ofPod, tell } from "../helpers/underlay.ts";

const nodes = [
  { name: "a", subnets: ["10.1.1.0/24", "fd00:1:1::/64"], addresses: ["192.0.2.1", "2001:db8:2::1"] },
  { name: "b", subnets: ["10.1.2.0/24", "fd00:1:2::/64"], addresses: ["192.0.2.2", "2001:db8:2::2"] },
];
/** A result in the words of every version at once; each one reads its own. */
const prevResult = {
  interfaces: [{ name: "tn1" }, { name: "eth0", sandbox: "/run/netns/pod" }],
  ips: [{ version: "4", interface: 1, address: "10.1.1.2/24" }],
  ip4: { ip: "10.1.1.2/24" },
};

/** Every pod has the link that some other plugin is to have made, and nobody minds what the node keeps. */
const kept =
  /^\+ (link .*"tenon\.1"|address tenon\.1 |route .*"(dev":"tenon\.1|type":"blackhole)|rule .*"11600"|nft |file \/run\/tenon\/)|^[+-] rule .*"priority":11600/;

contract("vxlan", {
  conf: { prevResult },
  ifname: "lo", // the only link that a bare container has
  exclusive: false,
  stays: kept,
  bad: [
    { change: { vni: 0 }, names: ["vni", "0"] },
    { change: { vni: 16777216 }, names: ["vni", "16777216"] },
    { change: { port: 65536 }, names: ["port", "65536"] },
    { change: { underlay: "a/b" }, names: ["underlay", "a/b"] },
    { change: { underlay: "eth9" }, names: ["eth9"], code: 50 },
    { change: { underlayFamily: "ipx" }, names: ["underlayFamily", "ipx"], code: 2 },
    { change: { clusterCidrs: ["10.0.0.0"] }, names: ["clusterCidrs[0]", "10.0.0.0"] },
    { change: { peers: "peers.json" }, names: ["peers", "peers.json"] },
    { change: { peers: "/run/none.json" }, names: ["/run/none.json"], code: 11 },
    { change: { txChecksum: "no" }, names: ["txChecksum", "no"], code: 2 },
    { change: { prevResult: undefined }, names: ["prevResult"] },
  ],
  async prepare(node) {
    await tell(node, "a", nodes, "contract");
  },
});

/** The first node of an underlay, alone: what it does about others needs none of them. */
const near = [
  { name: "n1", subnets: ["10.244.1.0/24", "fd00:1::/64"], addresses: ["192.0.2.1", "2001:db8:2::1"] },
  { name: "n2", subnets: ["10.244.2.0/24", "fd00:2::/64"], addresses: ["192.0.2.2", "2001:db8:2::2"] },
  { name: "n3", subnets: ["10.244.3.0/24", "fd00:3::/64"], addresses: ["198.51.100.3", "2001:db8:51::3"] },
];
const [first, second, third] = near as [(typeof near)[0], (typeof near)[0], (typeof near)[0]];

async function started(more = {}, peers: object[] = near): Promise<{ node: Node; chain: Chain }> {
  const node = await makeNode("vxlan", { uplink: true });
  await tell(node, "n1", peers as any);
  return { node, chain: chainOf(0, { type: "vxlan", ...more }) };
}
const shell = async (node: Node, line: string) => (await node.exec("bash", ["-ec", line])).stdout;
const entries = async (node: Node) =>
  (
    await shell(
      node,
      "ip route show proto 116; ip -6 route show proto 116; ip rule | grep 'proto 116'; ip -6 rule | grep 'proto 116'; bridge fdb show dev tenon.1; ip -4 neigh show dev tenon.1 nud permanent; ip -6 neigh show dev tenon.1 nud permanent; ip route show table 1946157057; ip -6 route show table 1946157057",
    )
  )
    .split("\n")
    .map((line) => line.trim())
    .sort();

test("ADD gives back prevResult with the MTU that the tunnel leaves, CHECK agrees, DEL leaves what is the node's", async () => {
  const { node, chain } = await started();
  await using _ = node;
  const pod = await attach(node, chain, "p1");
  expect(pod.result.interfaces.map(({ mtu }: any) => mtu)).toEqual([1450, 1450, 1450]);
  const [{ mtu }] = JSON.parse((await pod.exec("ip", ["-j", "link", "show", "eth0"])).stdout);
  expect(mtu).toBe(1450);
  const [device] = JSON.parse(await shell(node, "ip -d -j link show tenon.1"));
  expect(device).toMatchObject({ mtu: 1450, inet6_addr_gen_mode: "none", ifalias: "tenon network pods" });
  expect(device.linkinfo.info_data).toMatchObject({
    id: 1,
    port: 4789,
    local: "192.0.2.1",
    link: "eth0",
    learning: false,
  });
  expect(await shell(node, "cat /proc/sys/net/ipv6/conf/tenon.1/accept_ra")).toBe("0");
  const addresses = JSON.parse(await shell(node, "ip -j addr show tenon.1"))[0].addr_info;
  expect(addresses.map(({ local, prefixlen }: any) => `${local}/${prefixlen}`)).toEqual([
    "10.244.1.0/32",
    "fd00:1::/128",
  ]);
  expect((await entries(node)).length).toBe(4 + 2 + 2 + 2 + 4 + 4); // routes, holes, rules, FDB, neighbours, nodes
  expect((await ofPod(node, "CHECK", chain, pod)).stdout).toBe("");
  const before = await snapshot(node);
  expect((await ofPod(node, "DEL", chain, pod)).exitCode).toBe(0);
  expect(leftOver(before, await snapshot(node))).toEqual([]);
  // The pod's MTU is looked at too.
  await pod.exec("ip", ["link", "set", "eth0", "mtu", "1500"]);
  expect(errorOf(await ofPod(node, "CHECK", chain, pod))).toMatchObject({
    code: 101,
    msg: expect.stringContaining("1500"),
  });
});

test("ADD is to be tried again while the node's own address is tested for duplicates, and says so", async () => {
  const { node, chain } = await started();
  await using _ = node;
  const renew = (transmits: number) =>
    `sysctl -qw net.ipv6.conf.eth0.accept_dad=1 net.ipv6.conf.eth0.dad_transmits=${transmits}
     ip addr del 2001:db8:2::1/64 dev eth0; ip addr add 2001:db8:2::1/64 dev eth0 ${transmits ? "" : "nodad"}`;
  await shell(node, renew(60));
  const prevResult = { interfaces: [{ name: "eth0", sandbox: "/run/netns/p1" }], ips: [] };
  const pod = await node.netns("p1");
  const at = { netns: pod.path, ifname: "lo" };
  expect(errorOf(await call(node, "ADD", { ...chain.last, prevResult }, at))).toMatchObject({
    code: 11,
    msg: "Cannot reach other nodes: address 2001:db8:2::1 is still being tested for duplicates",
  });
  await shell(node, renew(0));
  await must(node, "ADD", { ...chain.last, prevResult }, at);
});

test("CHECK names what is missing, other or surplus, and GC mends it", async () => {
  const { node, chain } = await started();
  await using _ = node;
  const pod = await attach(node, chain, "p1");
  const alive = { "cni.dev/valid-attachments": [{ containerID: "p1", ifname: "eth0" }] };
  const good = await entries(node);
  const [, mac] = (await shell(node, "bridge fdb show dev tenon.1 | grep 192.0.2.2")).match(/^(\S+)/)!;
  for (const [harm, word] of [
    ["ip route del 10.244.2.0/24", "missing: route 10.244.2.0/24"],
    ["ip -6 route del fd00:3::/64", "missing: route fd00:3::/64"],
    ["ip route del 192.0.2.2 table 1946157057", "missing: route 192.0.2.2/32"],
    ["ip route replace 10.244.2.0/24 via 192.0.2.2 proto 116", "different: route 10.244.2.0/24"],
    ["ip route add 10.244.9.0/24 via 10.244.9.0 dev tenon.1 onlink proto 116", "surplus: route 10.244.9.0/24"],
    ["ip route del blackhole 10.244.1.0/24", "missing: route 10.244.1.0/24"],
    ["ip rule del pref 11600", "missing: rule from 10.244.1.0/24"],
    ["ip neigh del 10.244.2.0 dev tenon.1", "missing: neighbour 10.244.2.0"],
    [
      "ip neigh replace 10.244.2.0 lladdr 02:00:00:00:00:99 nud permanent dev tenon.1",
      "different: neighbour 10.244.2.0",
    ],
    [`bridge fdb del ${mac} dev tenon.1`, `missing: forwarding ${mac}`],
    [`bridge fdb replace ${mac} dev tenon.1 dst 192.0.2.9 self permanent`, `different: forwarding ${mac}`],
    [
      "bridge fdb add 02:00:00:00:00:99 dev tenon.1 dst 192.0.2.9 self permanent",
      "surplus: forwarding 02:00:00:00:00:99",
    ],
    ["ip addr del 10.244.1.0/32 dev tenon.1", "address 10.244.1.0/32 is missing"],
    ["ip addr add 10.9.9.9/32 dev tenon.1", "address 10.9.9.9/32 is surplus"],
    ["ip link set tenon.1 mtu 1400", "MTU 1400, not 1450"],
    ["ip link set tenon.1 address 02:00:00:00:00:98", "MAC address 02:00:00:00:00:98"],
    ["ip link set tenon.1 down", "it is down"],
    ["ip link del tenon.1", "device tenon.1: it is missing"],
    ["sysctl -qw net.ipv4.ip_forward=0", "ip_forward is not 1"],
    ["nft delete element inet tenon cluster/pods/nodes4 '{ 192.0.2.2 }'", "not exempt from masquerade: 192.0.2.2"],
    ["nft flush chain inet tenon postrouting", "exempt network"],
    ["nft flush ruleset", "exempt"],
  ] as const) {
    await shell(node, harm);
    const { code, msg, details } = errorOf(await ofPod(node, "CHECK", chain, pod));
    expect({ code, text: `${msg.slice(msg.indexOf(": ") + 2)}; ${details}` }).toEqual({
      code: 101,
      text: expect.stringContaining(word),
    });
    await must(node, "GC", { ...chain.last, ...alive });
    const again = await ofPod(node, "CHECK", chain, pod);
    expect({ harm, said: again.stdout }).toEqual({ harm, said: "" });
    expect(await entries(node)).toEqual(good);
  }
}, 60_000);

test("ADD opens the snapshot only when it has changed", async () => {
  const { node, chain } = await started();
  await using _ = node;
  await attach(node, chain, "p1");
  const file = "/run/tenon/peers/pods.json";
  // Of the same file, size and time, but no JSON any more: who opened it would say so.
  await shell(
    node,
    `touch -r ${file} /run/time; tr '{' 'x' < ${file} > /run/spoilt; cat /run/spoilt > ${file}; touch -r /run/time ${file}`,
  );
  await attach(node, chain, "p2");
  await shell(node, `touch ${file}`);
  const netns = "/run/netns/p2";
  expect(errorOf(await call(node, "ADD", { ...chain.last, prevResult }, { netns })).msg).toContain(file);
  // Another configuration, or another boot, counts as a change too.
  await tell(node, "n1", near);
  await attach(node, chain, "p3");
  await shell(node, 'ip route flush proto 116; sed -i \'s/"boot":"/&x/\' /run/tenon/peers/pods.stamp');
  await attach(node, chain, "p4");
  expect(await shell(node, "ip route show 10.244.3.0/24")).toContain("tenon.1");
  const renamed = { ...chain, last: { ...chain.last, vni: 9 } };
  await attach(node, renamed, "p5");
  expect(await shell(node, "ip -br link show type vxlan")).toMatch(/^tenon.9 /);
  expect(await shell(node, "ip rule")).not.toContain("1946157057");
}, 20_000);

test("ADD follows nodes that come, go and change, and a device that is gone", async () => {
  const { node, chain } = await started({}, [first, second]);
  await using _ = node;
  await attach(node, chain, "p0");
  const good = await entries(node);
  let count = 0;
  const now = async (peers: object[]) => {
    await tell(node, "n1", peers as any);
    await attach(node, chain, `p${++count}`);
    return (await entries(node)).join("\n");
  };
  expect(await now(near)).toContain("10.244.3.0/24 via 10.244.3.0 dev tenon.1 src 192.0.2.1 onlink");
  expect(await now([first, { ...second, mac: "02:00:00:00:00:77" }])).toContain(
    "02:00:00:00:00:77 dst 192.0.2.2 self permanent",
  );
  expect(await now([first, { ...second, addresses: ["192.0.2.77"] }])).toContain("dst 192.0.2.77 self permanent");
  // A subnet that one node gives up and another takes.
  const swapped = await now([first, { ...second, subnets: third.subnets }, { ...third, subnets: second.subnets }]);
  expect(swapped).toContain("10.244.2.0/24 via 10.244.2.0");
  await now([first, second]);
  expect(await entries(node)).toEqual(good);
  await shell(node, "ip link del tenon.1");
  await attach(node, chain, "q");
  expect(await entries(node)).toEqual(good);
}, 30_000);

test("a node whose own address changes keeps its device and sends from the new one", async () => {
  const { node, chain } = await started();
  await using _ = node;
  await attach(node, chain, "p1");
  const index = JSON.parse(await shell(node, "ip -j link show tenon.1"))[0].ifindex;
  await shell(
    node,
    "ip addr del 192.0.2.1/24 dev eth0; ip addr add 192.0.2.9/24 dev eth0; ip route add default via 192.0.2.254",
  );
  // The others still know the old one: that is said, and the tunnel works all the same, from an address that is there.
  await tell(node, "n1", [{ ...first, addresses: ["192.0.2.1"] }, second]);
  const { stderr } = await call(node, "ADD", { ...chain.last, prevResult }, { netns: "/run/netns/p1" });
  expect(stderr).toContain('Node "n1" has none of the addresses that the others know it by');
  const device = JSON.parse(await shell(node, "ip -d -j link show tenon.1"))[0];
  expect([device.ifindex, device.linkinfo.info_data.local]).toEqual([index, "192.0.2.9"]);
  expect((await call(node, "STATUS", chain.last)).stderr).toContain('Node "n1" has none');
  await tell(node, "n1", [{ ...first, addresses: ["192.0.2.9"] }, second]);
  expect((await call(node, "ADD", { ...chain.last, prevResult }, { netns: "/run/netns/p1" })).stderr).toBe("");
  expect(await shell(node, "ip route show 10.244.2.0/24")).toContain("src 192.0.2.9");
});

test("STATUS names what is in the way", async () => {
  const { node, chain } = await started();
  await using _ = node;
  const status = async (more = {}) => {
    const outcome = await call(node, "STATUS", { ...chain.last, ...more });
    if (outcome.exitCode === 0) return outcome.stderr;
    const { code, msg, details } = errorOf(outcome);
    expect(code).toBe(50);
    return `${msg}; ${details}`;
  };
  expect(await status()).toBe("");
  expect(await status({ peers: "/run/none.json" })).toContain("/run/none.json");
  expect(await status({ underlay: "eth9" })).toContain('no link "eth9"');
  await shell(node, "ip link add spare type veth peer name other");
  expect(await status({ underlay: "spare" })).toContain('"spare", the underlay, is down');
  await shell(node, "ip link set spare up; ip link set other up");
  await tell(node, "n1", [{ ...first, addresses: ["192.0.2.1"] }], "bare");
  const bare = { name: "bare", underlay: "spare", underlayFamily: "ipv6" };
  expect(await status(bare)).toContain('"spare", the underlay, has no IPv6 address');
  await shell(node, "ip link add theirs type vxlan id 5 dstport 4789 local 192.0.2.1");
  expect(await status({ vni: 5 })).toContain('link "theirs" has VNI 5 and port 4789');
  const clash = await call(node, "ADD", { ...chain.last, vni: 5, prevResult }, { netns: "/proc/1/ns/mnt" });
  expect(errorOf(clash)).toMatchObject({ code: 102, msg: expect.stringContaining('"theirs" has VNI 5') });
  await shell(node, "ip link add tenon.6 type veth peer name six");
  expect(await status({ vni: 6 })).toContain('"tenon.6" exists and is no vxlan device');
  await attach(node, chain, "p1");
  expect(await status()).toBe("");
  await tell(node, "n1", near, "second");
  expect(await status({ name: "second" })).toContain('VNI 1 belongs to network "pods"');
  await shell(node, "sysctl -qw net.ipv4.ip_forward=0");
  expect(await status()).toContain("net/ipv4/ip_forward is not 1");
  await shell(node, "sysctl -qw net.ipv4.ip_forward=1");
  const [, rule] = (await shell(node, "nft -a list chain inet tenon postrouting | grep cluster/pods/nodes4")).match(
    /handle (\d+)/,
  )!;
  await shell(node, `nft delete rule inet tenon postrouting handle ${rule}`);
  expect(await status()).toContain('exempt network "pods" from masquerade are missing');
}, 20_000);

test("nodes that cannot be reached, or take less, are named, and the others are reached all the same", async () => {
  const six = { ...third, addresses: ["2001:db8:2::3"] };
  const { node, chain } = await started({}, [first, { ...second, mtu: 1400 }, six]);
  await using _ = node;
  const pod = await node.netns("pod");
  const { stderr, exitCode } = await call(
    node,
    "ADD",
    { ...chain.last, prevResult },
    { netns: pod.path, ifname: "lo" },
  );
  expect([exitCode, stderr]).toEqual([
    0,
    'tenon: Cannot reach node "n3": it has no IPv4 address, which the tunnel needs',
  ]);
  expect(await shell(node, "ip route show proto 116")).toContain("10.244.2.0/24");
  const { stderr: status } = await call(node, "STATUS", chain.last);
  expect(status).toContain('Cannot reach node "n3"');
  expect(status).toContain('MTU: link "eth0" has 1500, but node "n2" takes 1400 only');
});

test("many ADDs at once programme the nodes once", async () => {
  const { node, chain } = await started();
  await using _ = node;
  const pods = await Promise.all(Array.from({ length: 12 }, (_, at) => node.netns(`m${at}`)));
  await Promise.all(
    pods.map(({ path, name }) =>
      must(node, "ADD", { ...chain.last, prevResult }, { containerId: name, netns: path, ifname: "lo" }),
    ),
  );
  expect((await entries(node)).length).toBe(18);
  expect(await shell(node, "nft list chain inet tenon postrouting | grep -c accept.comment")).toBe("4");
});

test("checksums by the card are switched off where that is said", async () => {
  const { node, chain } = await started({ txChecksum: "off", mtu: 1300 });
  await using _ = node;
  const pod = await attach(node, chain, "p1");
  expect(pod.result.interfaces.at(-1).mtu).toBe(1300);
  expect(await shell(node, "ethtool -k tenon.1")).toContain("tx-checksum-ip-generic: off");
  await shell(node, "ethtool -K tenon.1 tx-checksum-ip-generic on");
  expect(errorOf(await ofPod(node, "CHECK", chain, pod)).msg).toContain("checksums by the card are on");
});
