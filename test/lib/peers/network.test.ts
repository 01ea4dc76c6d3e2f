import { expect, test } from "bun:test";
import type { PeerNode, Snapshot } from "../../../lib/peers/snapshot.ts";
import { makeNode } from "../../helpers/node.ts";
import { onPeers } from "../../helpers/peers-process.ts";
import { soak } from "../../helpers/plugin.ts";
import { leftOver, snapshot } from "../../helpers/snapshot.ts";

const peer = (at: number, more: Partial<PeerNode> = {}): PeerNode => ({
  name: `n${at}`,
  subnets: [`10.${64 + (at >> 8)}.${at & 255}.0/24`, `fd00:1:${at.toString(16)}::/64`],
  addresses:
    at === 1
      ? ["192.0.2.1", "2001:db8:2::1"]
      : [`172.${16 + (at >> 8)}.${at & 255}.1`, `2001:db8:9::${at.toString(16)}`],
  ...more,
});
const of = (nodes: PeerNode[]): Snapshot => ({ version: 1, network: "pods", self: "n1", nodes });
const peers = (count: number) => Array.from({ length: count }, (_, at) => peer(at + 1));
const changes = (added: number, removed = 0, repaired = 0) => ({ added, removed, repaired, problems: [] });
const vxlan = { type: "vxlan", clusterCidrs: ["10.0.0.0/8", "fd00::/16"] };

// A node reached by the tunnel: two routes, two neighbours, a forwarding entry, two routes to its addresses. This node itself:
// two holes, two rules, and the device.
test("what is programmed is counted, and what is as it was costs nothing", async () => {
  await using node = await makeNode("peers", { uplink: true });
  const [two, three] = [of(peers(2)), of(peers(3))];
  const moved = of([peer(1), peer(2, { addresses: ["172.16.0.99", "2001:db8:9::2"] }), peer(3)]);
  const answers = await onPeers(node, vxlan, [
    ["publish", two],
    ["publish", three, two],
    ["publish", three, three],
    ["publish", moved, three],
    ["publish", three],
    ["publish", of([peer(1)]), three],
    ["publish", three, of([peer(1)])],
    ["compare", three],
  ]);
  expect(answers).toEqual([
    changes(12), // seven of the node, four of this one, one device
    changes(7),
    changes(0),
    changes(2, 1), // where the tunnel leads to, and the route to the new address
    changes(2, 1), // all compared: the same the other way
    changes(0, 14),
    changes(14),
    [],
  ]);
}, 20_000);

test("what others take away or change is repaired, and counted as that", async () => {
  await using node = await makeNode("peers", { uplink: true });
  const three = of(peers(3));
  const answers = await onPeers(node, vxlan, [
    ["publish", three],
    ["repair"],
    ["shell", "ip route del 10.64.2.0/24; ip rule del pref 11600; ip addr add 10.3.3.3/32 dev tenon.1"],
    ["repair"],
    ["shell", "ip link del tenon.1; nft flush ruleset"],
    ["repairIfAny"],
    ["compare", three],
    ["shell", "ip link del tenon.1"],
    // What was programmed before helps as long as the ground is the same: a device made anew is not.
    ["publish", three, three],
    ["compare", three],
  ]);
  expect(answers[1]).toEqual(changes(0));
  expect(answers[3]).toEqual(changes(0, 0, 2));
  expect([answers[6], answers[9]]).toEqual([[], []]);
  expect(answers[8].added).toBe(15); // all but the rules and the holes
}, 20_000);

test("a network leaves nothing behind when it is withdrawn, and what is another's stays", async () => {
  await using node = await makeNode("peers", { uplink: true });
  await node.exec("bash", ["-ec", "nft add table inet tenon; nft add set inet tenon other '{ type ipv4_addr; }'"]);
  const before = await snapshot(node);
  const three = of(peers(3));
  const answers = await onPeers(node, vxlan, [["publish", three], ["withdraw"], ["withdraw"], ["stamp"], ["networks"]]);
  expect(answers.slice(1)).toEqual([changes(0, 19), changes(0), null, []]);
  const stays = [/^\+ file \/run\/tenon\//, /^\+ nft \{"chain"/, /^[+] rule .*"priority":32766/];
  expect(leftOver(before, await snapshot(node), stays)).toEqual([]);
}, 20_000);

test("from plain routes to a tunnel and back nothing is left of either", async () => {
  await using node = await makeNode("peers", { uplink: true });
  const near = of([peer(1), peer(2, { addresses: ["192.0.2.2", "2001:db8:2::2"] })]);
  const shown = "ip -br link show type vxlan; ip route show proto 116; ip -6 route show proto 116";
  const plain = await onPeers(node, { type: "routes" }, [
    ["publish", near],
    ["shell", shown],
  ]);
  const overlay = await onPeers(node, vxlan, [
    ["publish", near],
    ["compare", near],
    ["shell", shown],
  ]);
  // A wider route of somebody else's, by another link, is no hindrance.
  await node.exec("ip", ["route", "add", "fd00:1::/32", "via", "2001:db8:2::fe"]);
  const again = await onPeers(node, { type: "routes" }, [
    ["publish", near],
    ["compare", near],
    ["shell", shown],
  ]);
  expect(plain[1]).toContain("10.64.2.0/24 via 192.0.2.2 dev eth0");
  expect(overlay[1]).toEqual([]);
  expect(overlay[2]).toContain("tenon.1");
  expect(again.slice(1)).toEqual([[], plain[1]]);
  expect(
    (
      await onPeers(node, vxlan, [
        ["publish", near],
        ["compare", near],
      ])
    )[1],
  ).toEqual([]);
}, 20_000);

test("an ADD after the snapshot has changed programmes it, one after that does nothing", async () => {
  await using node = await makeNode("peers", { uplink: true });
  const three = of(peers(3));
  const file = JSON.stringify(three).replaceAll("'", "");
  const answers = await onPeers(node, vxlan, [
    ["ensure"],
    ["shell", `mkdir -p /run/tenon/peers; echo '${file}' > /run/tenon/peers/pods.json`],
    ["ensure"],
    ["ensure"],
    ["compare", three],
  ]);
  expect(answers[0]).toMatchObject({ code: 11, message: expect.stringContaining("/run/tenon/peers/pods.json") });
  expect(answers[2]).toMatchObject({ fresh: true, device: { name: "tenon.1", mtu: 1450 } });
  expect(answers[3].fresh).toBeUndefined();
  expect(answers[4]).toEqual([]);
}, 20_000);

test("thousands of nodes are programmed, followed and compared", async () => {
  await using node = await makeNode("peers", { uplink: true });
  const count = soak ? 5000 : 1500;
  const all = of(peers(count));
  const changed = of(
    all.nodes.map((one, at) => (at === 700 ? { ...one, addresses: ["172.15.0.1", one.addresses[1]!] } : one)),
  );
  for (const entry of [vxlan, { ...vxlan, clusterCidrs: [] }]) {
    const answers = await onPeers(node, entry, [
      ["publish", all],
      ["publish", changed, all],
      ["compare", changed],
      ["publish", of([peer(1)]), changed],
      ["compare", of([peer(1)])],
      ["withdraw"],
    ]);
    expect(answers).toEqual([
      changes(7 * (count - 1) + 5),
      changes(2, 1),
      [],
      changes(0, 7 * (count - 1)),
      [],
      changes(0, 5),
    ]);
  }
}, 60_000);
