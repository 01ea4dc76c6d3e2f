// Back to the reference: its DEL of what ours made takes all that its formats name. What is left is in tables of ours.
import { expect, test } from "bun:test";
import { makeNode } from "../helpers/node.ts";
import { call, must, ours, soak } from "../helpers/plugin.ts";
import { leftOver, snapshot } from "../helpers/snapshot.ts";
import { attachChain, chain, left, suites } from "../helpers/upgrade.ts";

for (const suite of suites.slice(soak ? 0 : 1, 2)) {
  test(`the reference ${suite.name} deletes what ours made, but for elements in our own tables`, async () => {
    await using node = await makeNode("back", { uplink: true });
    const start = await snapshot(node);
    const pod = await attachChain(node, "pod", chain(suite, "bridge", 8080), ours);
    for (const conf of pod.plugins.toReversed()) {
      const known = { ...conf, prevResult: pod.result };
      // To some releases of iptables a chain of theirs that was never there is an error: the last step of bridge's DEL.
      const { exitCode, stdout } = await call(node, "DEL", known, { ...pod.at, bin: suite.bin });
      if (exitCode !== 0) expect(`${conf.type} ${stdout}`).toMatch(/^bridge .*CNI-[0-9a-f]{24}.*does not exist/s);
      await must(node, "DEL", known, { ...pod.at, bin: suite.bin });
    }
    await pod.netns.close();
    const noise = [...left, /^\+ .*fe80::/, /^\+ file \/run\/tenon/];
    const ownTables = /^\+ nft \{"[a-z]+":\{.*"(table|name)":"tenon"/;
    expect(leftOver(start, await snapshot(node), [...noise, ownTables])).toEqual([]);
    // Ours, put back, takes the rest: by DEL of the same attachment, or by GC.
    expect((await node.exec("nft", ["list", "ruleset"])).stdout).toContain("net/pod/eth0");
    for (const conf of pod.plugins) {
      const known = { ...conf, cniVersion: "1.1.0", runtimeConfig: undefined, "cni.dev/valid-attachments": [] };
      await must(node, "GC", known);
    }
    expect((await node.exec("nft", ["list", "ruleset"])).stdout).not.toContain("tenon");
  });
}
