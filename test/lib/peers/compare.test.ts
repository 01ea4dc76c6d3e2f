import { expect, test } from "bun:test";
import { compareMtu } from "../../../lib/peers/compare.ts";
import type { PeerNode, Snapshot } from "../../../lib/peers/snapshot.ts";
import { makeNode } from "../../helpers/node.ts";
import { onPeers } from "../../helpers/peers-process.ts";

const self: PeerNode = { name: "a", subnets: ["10.1.1.0/24"], addresses: ["192.0.2.1"] };
const other: PeerNode = { name: "b", subnets: ["10.1.2.0/24"], addresses: ["192.0.2.2"], mac: "02:00:00:00:00:02" };
const of = (...nodes: PeerNode[]): Snapshot => ({ version: 1, network: "pods", self: "a", nodes });

test("what differs is told by its kind", async () => {
  await using node = await makeNode("compare", { uplink: true });
  const lame: PeerNode = { name: "c", subnets: ["10.1.3.0/24"], addresses: ["2001:db8::3"], mtu: 1400 };
  const answers = await onPeers(node, { type: "vxlan" }, [
    ["compare", of(self, other)],
    ["publish", of(self, other)],
    ["compare", of(self, other)],
    [
      "shell",
      "ip route del 10.1.2.0/24; ip neigh add 10.1.9.0 lladdr 02:00:00:00:00:09 dev tenon.1 nud permanent; bridge fdb replace 02:00:00:00:00:02 dev tenon.1 dst 192.0.2.7 self permanent",
    ],
    ["compare", of(self, other)],
    ["compare", of({ ...self, addresses: ["192.0.2.55"] }, other, lame)],
    ["assert"],
  ]);
  expect(answers[0]).toContainEqual({ state: "different", what: "device tenon.1: it is missing" });
  expect(answers[2]).toEqual([]);
  expect(answers[4].sort((a: any, b: any) => (a.what < b.what ? -1 : 1))).toEqual([
    { state: "different", what: "forwarding 02:00:00:00:00:02: 192.0.2.7, not 192.0.2.2" },
    { state: "surplus", what: "neighbour 10.1.9.0: 02:00:00:00:00:09" },
    { state: "missing", what: expect.stringContaining("route 10.1.2.0/24 table 254 metric 0: via 10.1.2.0 dev ") },
  ]);
  const unreachable = answers[5].filter(({ state }: any) => state === "unreachable").map(({ what }: any) => what);
  expect(unreachable).toEqual([
    'Node "a" has none of the addresses that the others know it by',
    'Cannot reach node "c": it has no IPv4 address, which the tunnel needs',
  ]);
  expect(answers[5].map(({ what }: any) => what)).toContain('MTU: link "eth0" has 1500, but node "c" takes 1400 only');
  expect(answers[6]).toEqual([]);
}, 20_000);

test("pods elsewhere of a family that this node has no pods of ask nothing of this host", async () => {
  await using node = await makeNode("families", { uplink: true });
  const dual = of(self, { ...other, subnets: [...other.subnets, "fd00:2::/64"], addresses: ["192.0.2.2"] });
  const own = of({ ...self, subnets: [...self.subnets, "fd00:1::/64"] }, ...dual.nodes.slice(1));
  const off = "sysctl -qw net.ipv6.conf.all.forwarding=0";
  const answers = await onPeers(node, { type: "vxlan" }, [
    ["shell", off],
    ["publish", dual],
    ["compare", dual],
    ["assert"],
    ["publish", own],
    ["shell", off],
    ["compare", own],
  ]);
  expect(answers[2]).toEqual([]);
  expect(answers[3]).toEqual([]);
  const what = "net/ipv6/conf/all/forwarding is not 1: the host forwards no IPv6 packets";
  expect(answers[6]).toEqual([{ state: "different", what }]);
});

test("an MTU is trouble where it is lower than this node's", () => {
  const underlay: any = { link: { name: "eth0", mtu: 1500 } };
  const nodes = [
    { ...self, mtu: 1400 },
    { ...other, mtu: 9000 },
  ];
  expect(compareMtu(of(...nodes), underlay)).toEqual([]);
  expect(compareMtu(of(self, { ...other, mtu: 1499 }), underlay).length).toBe(1);
});
