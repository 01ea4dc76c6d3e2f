// GC by ours after the reference: what says its network goes with the dead, what does not stays, and the living live on.
import { expect, test } from "bun:test";
import { ask, startEcho } from "../helpers/echo.ts";
import { makeNode, uplink } from "../helpers/node.ts";
import { must, soak } from "../helpers/plugin.ts";
import { leftOver, snapshot } from "../helpers/snapshot.ts";
import { attachChain, chain, each, suites } from "../helpers/upgrade.ts";

/** What bears no network: the firewall's addresses, the guard of MAC addresses, ports of nftables, the ifb link, tuning's backup. */
const stays = [
  /"table":"filter","chain":"CNI-FORWARD"/,
  /"table":"nat",("chain"|"name"):"cni-br-iface-|"comment":"macspoofchk-/,
  /"table":"cni_hostport".*"comment":"dead"/,
  /^\+ link \{"ifname":"bwp/,
  /^\+ file \/run\/cni\/tuning\/dead_eth0\.json/,
];
const noise = [/fe80::/, /file \/run\/(tenon|netns)/, /last_reserved_ip/];

for (const suite of soak ? suites : [suites[0], suites[2]]) {
  test(`GC after the reference ${suite.name}`, async () => {
    await using node = await makeNode("gc", { uplink: true });
    const alive = await attachChain(node, "alive", chain(suite, "bridge", 8080), suite.bin);
    const other = chain(suite, "bridge", 7070).map((conf) => ({ ...conf, name: "other" }));
    const ipam = { type: "host-local", subnet: "10.7.0.0/16" };
    await attachChain(node, "foreign", [{ ...other[0], bridge: "cni7", ipam }, other[1]], suite.bin);
    const before = await snapshot(node);
    const dead = await attachChain(node, "dead", chain(suite, "bridge", 9090), suite.bin);
    await dead.netns.close();

    const valid = [{ containerID: "alive", ifname: "eth0" }];
    for (const conf of alive.plugins)
      await must(node, "GC", {
        ...conf,
        cniVersion: "1.1.0",
        runtimeConfig: undefined,
        "cni.dev/valid-attachments": valid,
      });
    const left = leftOver(before, await snapshot(node), noise);
    expect(left.filter((line) => !stays.some((pattern) => pattern.test(line)))).toEqual([]);
    await each(node, "CHECK", alive);
    await startEcho(node, alive.netns, "alive", [80]);
    const [four] = uplink.node;
    const asked = await ask(node.outside!, [
      ["tcp", four, 8080],
      ["udp", four, 8080],
    ]);
    expect(asked).toEqual(new Array(2).fill(`alive ${uplink.outside[0]}`));
    // What GC cannot tell, DEL takes, as a runtime sends it for all that it remembers.
    await each(node, "DEL", dead);
    expect(leftOver(before, await snapshot(node), [...noise, /dead_eth0/])).toEqual([]);
  });
}
