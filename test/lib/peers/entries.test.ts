import { expect, test } from "bun:test";
import { parseCidr } from "../../../lib/netlink/inet.ts";
import { type Paths, pathsOf } from "../../../lib/peers/conf.ts";
import { entriesOf, type Ground, inOrder, nodeTable, ownEntries } from "../../../lib/peers/entries.ts";
import type { PeerNode } from "../../../lib/peers/snapshot.ts";

const paths = (type: string, more = {}): Paths => pathsOf("pods", { type, ...more })!;
const ground = (of: Paths, device = 0): Ground => ({
  paths: of,
  device,
  underlay: {
    link: { index: 2, flags: 1, hardware: 1, name: "eth0", mtu: 1500 },
    family: 4,
    local: "192.0.2.1",
    known: true,
    sources: { 4: "192.0.2.1" },
    beside: [{ network: parseCidr("192.0.2.1/24")!, link: 2 }],
  },
});
const peer = (addresses: string[], subnets = ["10.1.2.0/24", "fd00:2::/64"]): PeerNode => ({
  name: "b",
  mac: "02:00:00:00:00:02",
  subnets,
  addresses,
});
const texts = ({ entries, problems }: ReturnType<typeof entriesOf>) => [
  ...inOrder(entries).map(({ key, value }) => `${key}: ${value}`),
  ...problems,
];

test("through the tunnel: neighbours, where it leads to, and routes, in this order", () => {
  expect(texts(entriesOf(ground(paths("vxlan"), 9), peer(["198.51.100.2", "2001:db8::2"])))).toEqual([
    "neighbour 10.1.2.0: 02:00:00:00:00:02",
    "neighbour fe80::ff:fe00:2: 02:00:00:00:00:02",
    "forwarding 02:00:00:00:00:02: 198.51.100.2",
    "route 10.1.2.0/24 table 254 metric 0: via 10.1.2.0 dev 9 onlink src 192.0.2.1",
    `route 198.51.100.2/32 table ${nodeTable(1)} metric 3: via 10.1.2.0 dev 9 onlink src 192.0.2.1`,
    "route fd00:2::/64 table 254 metric 1024: via fe80::ff:fe00:2 dev 9 onlink",
    `route 2001:db8::2/128 table ${nodeTable(1)} metric 1024: via fe80::ff:fe00:2 dev 9 onlink`,
  ]);
});

test("beside this host: plain routes; of the family that is, the other through the tunnel", () => {
  const near = peer(["192.0.2.2", "2001:db8::2"]);
  const direct = texts(entriesOf(ground(paths("vxlan", { directRouting: true }), 9), near));
  expect(direct).toContain("route 10.1.2.0/24 table 254 metric 0: via 192.0.2.2 dev 2");
  expect(direct).toContain("route fd00:2::/64 table 254 metric 1024: via fe80::ff:fe00:2 dev 9 onlink");
  const plain = paths("routes", { metric: 7, table: 100 });
  expect(texts(entriesOf(ground(plain), peer(["198.51.100.2", "192.0.2.2"], ["10.1.2.0/24"])))).toEqual([
    "route 10.1.2.0/24 table 100 metric 7: via 192.0.2.2 dev 2",
  ]);
});

test("who cannot be reached is said to be, once", () => {
  expect(texts(entriesOf(ground(paths("vxlan"), 9), peer(["2001:db8::2"])))).toEqual([
    'Cannot reach node "b": it has no IPv4 address, which the tunnel needs',
  ]);
  expect(texts(entriesOf(ground(paths("routes")), peer(["198.51.100.2"])))).toEqual([
    'Cannot reach node "b": its address 198.51.100.2 is on no subnet of this host: set offSubnet to "overlay", or to "skip" if routers know 10.1.2.0/24',
    'Cannot reach node "b": it has no IPv6 address for its pods\' network fd00:2::/64',
  ]);
  expect(texts(entriesOf(ground(paths("routes", { offSubnet: "skip" })), peer(["198.51.100.2"])))).toEqual([]);
});

test("of two networks of one family the first alone leads to the node's own address", () => {
  const all = texts(entriesOf(ground(paths("vxlan"), 9), peer(["198.51.100.2"], ["10.1.3.0/24", "10.1.2.0/24"])));
  expect(all.filter((text) => text.includes("198.51.100.2/32")).length).toBe(1);
  expect(all.filter((text) => text.startsWith("neighbour")).length).toBe(2);
  const six = texts(entriesOf(ground(paths("vxlan"), 9), peer(["198.51.100.2"], ["fd00:2::/64", "fd00:3::/64"])));
  expect(six.filter((text) => text.startsWith("neighbour")).length).toBe(1); // the same next hop for both
});

test("this node: holes behind its pods, and rules for what they send to nodes", () => {
  const keys = (of: Paths, device: number) => ownEntries(ground(of, device), peer([])).map(({ key }) => key);
  expect(keys(paths("vxlan"), 9)).toEqual([
    "route 10.1.2.0/24 table 254 metric 65535",
    `rule from 10.1.2.0/24 lookup ${nodeTable(1)}`,
    "route fd00:2::/64 table 254 metric 65535",
    `rule from fd00:2::/64 lookup ${nodeTable(1)}`,
  ]);
  expect(keys(paths("routes", { blackhole: false }), 0)).toEqual([]);
});
