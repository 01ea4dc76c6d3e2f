// Pods of two nodes, each with a containerd of another release, driven as the kubelet does: they reach each other, and the
// nodes, by their own addresses, by the overlay and by plain routes; a port published on one node is reached from the
// other's pod.
import { expect, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Containerd, type Release, releases, startContainerd } from "../helpers/containerd.ts";
import { ask, startEcho, type Target } from "../helpers/echo.ts";
import type { Node } from "../helpers/node.ts";
import { pluginFolder } from "../helpers/plugin-folder.ts";
import { leftOver, settled, snapshot } from "../helpers/snapshot.ts";
import { everyPair, makeUnderlay, type Party, peersOf, subnetsOf, tellPeers } from "../helpers/underlay.ts";

/** The bridge, what leads to other nodes, and containerd's own files. */
const allowed = [
  ...settled,
  /^\+ (link \{"ifname":"|address |route .*"dev":")(cni0|tenon\.1)/,
  /^\+ route .*("protocol":"116"|"type":"blackhole")/,
  /^[+-] rule .*"priority":11600/,
  /^\+ file \/run\/(containerd|nri|runc)\//,
  /^\+ file \/run\/tenon\/peers\/pods\.(lock|stamp)$/,
  /^\+ file \/var\/lib\/cni\/results\/$/,
  /^\+ nft \{"(map":(?!.*"elem")|set":.*"name":"cluster\/)/,
];

const portMappings = [0, 1].map((protocol) => ({ protocol, containerPort: 80, hostPort: 8080 })); // TCP, UDP

async function serve(node: Node, release: Release, at: number, plugins: string, last: string): Promise<Containerd> {
  const networks = join(node.dir, "net.d");
  const ipam = { type: "host-local", ranges: subnetsOf(at).map((subnet) => [{ subnet }]) };
  const chain = [
    { type: "bridge", bridge: "cni0", isDefaultGateway: true, ipMasq: true, hairpinMode: true, ipam },
    { type: "portmap", capabilities: { portMappings: true } },
    { type: last },
  ];
  const list = { cniVersion: release.cniVersion, name: "pods", plugins: chain };
  await mkdir(networks);
  await writeFile(join(networks, "10-pods.conflist"), JSON.stringify(list));
  return startContainerd(node, { plugins, networks, release });
}

async function runParty(node: Node, containerd: Containerd, at: number): Promise<Party & { id: string }> {
  const name = `p${at + 1}`;
  const id = await containerd.runPod(name, { portMappings });
  const { netns: path, ips: addresses } = await containerd.podStatus(id);
  const pod = {
    name,
    path,
    exec: node.execAt(path),
    addresses,
    result: undefined,
    close: () => containerd.stopPod(id),
  };
  return { id, name, node, pod, addresses, seenAs: addresses };
}

test.each(["vxlan", "routes"])(
  "pods of two nodes with containerd reach all by their own addresses, by %s",
  async (last) => {
    const plugins = await pluginFolder("bridge", "host-local", "loopback", "portmap", last);
    await using underlay = await makeUnderlay(2);
    const { nodes, addresses } = underlay;
    await tellPeers(underlay, peersOf(underlay, [4, 6]));
    const before = await Promise.all(nodes.map(snapshot));
    const [one, other] = await Promise.all(nodes.map((node, at) => serve(node, releases[at]!, at, plugins, last)));
    await using first = one!;
    await using second = other!;
    const containerds = [first, second];
    expect(await Promise.all(containerds.map((each) => each.networkProblem()))).toEqual(["", ""]);
    const pods = await Promise.all(nodes.map((node, at) => runParty(node, containerds[at]!, at)));
    expect(pods.map((pod) => pod.addresses)).toEqual([["10.244.1.2", "fd00:1::2"], ["10.244.2.2", "fd00:2::2"]]); // biome-ignore format: a table
    const parties = [
      ...pods,
      ...nodes.map((node, at) => ({ name: node.name, node, addresses: addresses(at), seenAs: addresses(at) })),
    ];
    expect(await everyPair(parties)).toEqual([]);

    // The published port of node 1, from the pod of node 2.
    const echo = await startEcho(nodes[0]!, { path: pods[0]!.pod!.path }, "p1", [80]);
    const targets = addresses(0).flatMap((host): Target[] => [["tcp", host, 8080], ["udp", host, 8080]]); // biome-ignore format: a pair
    const [four, six] = pods[1]!.addresses;
    expect(await ask(pods[1]!.pod!, targets)).toEqual([`p1 ${four}`, `p1 ${four}`, `p1 ${six}`, `p1 ${six}`]);
    await echo.stop();

    for (const verb of ["stopPod", "stopPod", "removePod"] as const) {
      await Promise.all(containerds.map((each, at) => each[verb](pods[at]!.id)));
    }
    const after = await Promise.all(nodes.map(snapshot));
    expect(after.flatMap((lines, at) => leftOver(before[at]!, lines, allowed))).toEqual([]);
  },
  60_000,
);
