// The other nodes beside the kernel: programmed, broken piece by piece, not programmed at all.
import { expect, test } from "bun:test";
import type { PeerNetwork } from "../../../cli/status/peers.ts";
import { tenonIn } from "../../helpers/explain.ts";
import { attach, chainOf, makeUnderlay, peersOf, tell, tellPeers } from "../../helpers/underlay.ts";

test("a tunnel's peers: told, programmed, and each with what is missing", async () => {
  await using underlay = await makeUnderlay(3);
  const node = underlay.nodes[0]!;
  const look = async (): Promise<{ exitCode: number; network: PeerNetwork }> => {
    const { exitCode, stdout } = await tenonIn(node, "peers", "--json");
    return { exitCode, network: JSON.parse(stdout)[0] };
  };
  const states = (network: PeerNetwork) =>
    network.peers.map(({ name, route, neighbour, forwarding }) => [name, route, neighbour, forwarding].join(" "));

  await tellPeers(underlay, peersOf(underlay, [4], [4]));
  const told = await look();
  expect([told.exitCode, told.network.problem, states(told.network)]).toEqual([
    1,
    "it is not programmed yet",
    ["n2 ? ? ?", "n3 ? ? ?"],
  ]);

  await attach(node, chainOf(0, { type: "vxlan" }, [4]), "p1");
  const well = await look();
  expect([well.exitCode, well.network.device, well.network.self]).toEqual([0, "tenon.1", "n1"]);
  expect(well.network.since).toBeGreaterThan(Date.now() - 60_000);
  expect(states(well.network)).toEqual(["n2 ok ok ok", "n3 ok ok ok"]);

  const { stdout } = await node.exec("ip", ["neigh", "show", "10.244.3.0", "dev", "tenon.1"]);
  const [mac] = /(..:){5}../.exec(stdout)!;
  await node.exec("sh", [
    "-ec",
    `ip neigh del 10.244.2.0 dev tenon.1
     bridge fdb del ${mac} dev tenon.1 self; bridge fdb append ${mac} dev tenon.1 dst 192.0.2.99 self permanent
     ip route del 10.244.2.0/24`,
  ]);
  const broken = await look();
  expect([broken.exitCode, states(broken.network)]).toEqual([1, ["n2 missing missing ok", "n3 ok ok different"]]);
  expect(broken.network.differences.map(({ state }) => state).sort()).toEqual(["different", "missing", "missing"]);

  await node.exec("ip", ["link", "delete", "tenon.1"]);
  expect((await look()).network.differences.map(({ what }) => what)).toContain("device tenon.1: it is missing");
});

test("plain routes need neither neighbours nor forwarding entries; a node that nobody reaches is told of", async () => {
  await using underlay = await makeUnderlay(2);
  const node = underlay.nodes[0]!;
  const far = { name: "far", subnets: ["10.244.9.0/24"], addresses: ["203.0.113.9"] };
  await tell(node, "n1", [...peersOf(underlay, [4], [4]), far]);
  await attach(node, chainOf(0, { type: "routes", offSubnet: "skip" }, [4]), "p1");
  const { stdout } = await tenonIn(node, "peers", "--json");
  const [network] = JSON.parse(stdout) as PeerNetwork[];
  expect(network!.peers.map(({ name, route, neighbour }) => [name, route, neighbour].join(" "))).toEqual([
    "n2 ok -",
    "far - -",
  ]);
  await node.exec("sh", ["-c", "echo '{' > /run/tenon/peers/pods.json"]);
  const unreadable = await tenonIn(node, "peers");
  expect([unreadable.exitCode, unreadable.stdout.includes("Cannot")]).toEqual([1, true]);
});
