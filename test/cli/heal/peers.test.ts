// The paths to other nodes, mended beside a healer; two nodes are told of, one of them is enough here.
import { expect, test } from "bun:test";
import { startHealer, until } from "../../helpers/healing.ts";
import { attach } from "../../helpers/libcni.ts";
import { makeNode } from "../../helpers/node.ts";
import { leftOver, snapshot } from "../../helpers/snapshot.ts";
import { tell } from "../../helpers/underlay.ts";

const nodes = [
  { name: "a", subnets: ["10.1.1.0/24", "fd00:1:1::/64"], addresses: ["192.0.2.1", "2001:db8:2::1"] },
  { name: "b", subnets: ["10.1.2.0/24", "fd00:1:2::/64"], addresses: ["192.0.2.2", "2001:db8:2::2"] },
  { name: "c", subnets: ["10.1.3.0/24", "fd00:1:3::/64"], addresses: ["192.0.2.3", "2001:db8:2::3"] },
];
const list = {
  cniVersion: "1.0.0",
  name: "pods",
  plugins: [
    {
      type: "bridge",
      isGateway: true,
      ipMasq: true,
      ipam: { type: "host-local", ranges: [[{ subnet: "10.1.1.0/24" }], [{ subnet: "fd00:1:1::/64" }]] },
    },
    { type: "vxlan" },
  ],
};

test("the tunnel, and routes, neighbours, forwarding entries and rules of peers come back; what peers' leaving takes does not", async () => {
  await using node = await makeNode("heal-peers", { uplink: true });
  await tell(node, "a", nodes, "pods");
  await attach(node, list, await node.netns("pod"), "p");
  await using healer = await startHealer(node);
  const before = await snapshot(node);
  const shown = async () =>
    (await node.exec("bash", ["-ec", "bridge fdb show dev tenon.1; ip neigh show dev tenon.1 nud permanent"])).stdout
      .split("\n")
      .map((line) => line.trim())
      .sort();
  const entries = await shown();
  expect(entries.length).toBeGreaterThan(3);
  const losses = [
    "ip link delete tenon.1",
    "ip link set tenon.1 down",
    "ip route flush 10.1.2.0/24; ip -6 route flush fd00:1:3::/64",
    "for table in $(ip rule | awk '/proto 116/ { print $NF }' | sort -u); do ip route flush table $table || :; done; ip route flush proto 116",
    "ip rule delete priority $(ip rule | awk -F: '/proto 116/ { print $1; exit }')",
    "ip neigh flush dev tenon.1 nud permanent",
    "bridge fdb show dev tenon.1 | while read mac rest; do bridge fdb delete $mac dev tenon.1; done",
    "nft flush ruleset",
  ];
  for (const loss of losses) {
    const { repairs } = await healer.counters();
    await node.exec("bash", ["-ec", loss]);
    const after = () => healer.counters().then((counters) => counters.repairs.peers ?? 0);
    await until(after, (count) => count > (repairs.peers ?? 0));
    await until(
      async () => [...leftOver(before, await snapshot(node)), ...leftOver(entries, await shown())],
      (lines) => lines.length === 0,
    );
  }
  // By the time that its entries go, a node that has left is no longer told of.
  const { repairs } = await healer.counters();
  await tell(node, "a", nodes.slice(0, 2), "pods");
  await attach(node, list, await node.netns("other"), "q");
  await Bun.sleep(300);
  expect((await healer.counters()).repairs.peers).toBe(repairs.peers!);
  expect((await snapshot(node)).filter((line) => line.includes("10.1.3."))).toEqual([]);
}, 30_000);

test("routes come back with the links and the addresses that they lead by", async () => {
  await using node = await makeNode("heal-links", { uplink: true });
  const run = (command: string) => node.exec("bash", ["-ec", command]);
  await run(
    "ip link add eth1 type veth peer name far1; ip link set far1 up; ip addr add 198.51.100.1/24 dev eth1; ip link set eth1 up",
  );
  const far = { name: "d", subnets: ["10.1.4.0/24"], addresses: ["198.51.100.4"] };
  await tell(node, "a", [...nodes, far], "pods");
  const plain = { ...list, plugins: [list.plugins[0]!, { type: "routes" }] };
  await attach(node, plain, await node.netns("pod"), "p");
  await using healer = await startHealer(node);
  const shown = async () => (await run("ip route show proto 116; ip -6 route show proto 116")).stdout;
  const before = await shown();
  for (const destination of ["10.1.2.0", "10.1.4.0", "fd00:1:3::"]) expect(before).toContain(`${destination}/`);
  const back = "ip addr add 2001:db8:2::1/64 dev eth0 nodad";
  const losses = [
    "ip link set eth1 down; ip link set eth1 up",
    "ip link set eth1 down; sleep 0.2; ip link set eth1 up",
    "ip addr del 198.51.100.1/24 dev eth1; sleep 0.2; ip addr add 198.51.100.1/24 dev eth1",
    `ip link set eth0 down; ip link set eth0 up; ${back}`,
    `ip link set eth0 down; sleep 0.2; ip link set eth0 up; sleep 0.2; ${back}`,
  ];
  for (const loss of losses) {
    await run(loss);
    await until(shown, (now) => now === before);
  }
  expect(healer.log).toContainEqual(expect.stringContaining('pods: Cannot reach other nodes: link "eth0"'));
}, 30_000);

test("the tunnel follows the address and the MTU of what carries it", async () => {
  await using node = await makeNode("heal-underlay", { uplink: true });
  const run = (command: string) => node.exec("bash", ["-ec", command]);
  await run("ip addr add 198.51.100.9/24 dev eth0");
  await tell(node, "a", nodes, "pods");
  await attach(node, list, await node.netns("pod"), "p");
  await using _ = await startHealer(node);
  const device = async () => (await run("ip -d link show tenon.1")).stdout;
  await run("ip addr del 192.0.2.1/24 dev eth0");
  await until(device, (now) => now.includes("local 198.51.100.9"));
  await run("ip addr add 192.0.2.1/24 dev eth0");
  await until(device, (now) => now.includes("local 192.0.2.1"));
  await run("ip link set eth0 mtu 1400");
  await until(device, (now) => now.includes("mtu 1350"));
  await run("ip link set eth0 mtu 1500");
  await until(device, (now) => now.includes("mtu 1450"));
}, 30_000);
