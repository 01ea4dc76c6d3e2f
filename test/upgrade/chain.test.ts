// A chain attached by the reference, whatever its release and backend, and then this suite in its place: CHECK and DEL by
// ours, without any program, leave what the reference's own DEL leaves; the pods beside it live on.
import { expect, test } from "bun:test";
import { ask, startEcho } from "../helpers/echo.ts";
import { makeNode, uplink } from "../helpers/node.ts";
import { call, errorOf, ours, soak } from "../helpers/plugin.ts";
import { leftOver, snapshot } from "../helpers/snapshot.ts";
import { attachChain, chain, each, left, suites, traced } from "../helpers/upgrade.ts";

const byAddress = /"chain":"CNI-FORWARD".*"field":"[sd]addr"/;
const noise = [/fe80::/, /file \/run\/tenon/, /last_reserved_ip/];

for (const suite of suites) {
  for (const main of ["bridge", "ptp"] as const) {
    // The main plugin makes no difference to what follows it.
    if (main === "ptp" && suite === suites[1] && !soak) continue;
    test(`${main} and all that follows, by the reference ${suite.name}: ours checks and deletes it, and nothing else`, async () => {
      await using node = await makeNode("upgrade", { uplink: true });
      const trace = await traced(node);
      const start = await snapshot(node);
      const stays = await attachChain(node, "stays", chain(suite, main, 8080), suite.bin);
      await node.netns("goes");
      const before = await snapshot(node);
      await node.exec("ip", ["netns", "delete", "goes"]);
      const goes = await attachChain(node, "goes", chain(suite, main, 9090), suite.bin);

      await each(node, "CHECK", goes, trace.bin, { path: ours });
      const ports = { ...goes.plugins[1], prevResult: goes.result };
      const moved = { portMappings: [{ hostPort: 9090, containerPort: 81, protocol: "tcp" }] };
      expect(errorOf(await call(node, "CHECK", { ...ports, runtimeConfig: moved }, goes.at)).code).toBe(101);
      const masked = { ...goes.plugins[0], prevResult: goes.result, name: "other", ipam: {} };
      if (main === "bridge") expect(errorOf(await call(node, "CHECK", masked, goes.at)).msg).toContain("masquerade");
      await each(node, "DEL", goes, trace.bin, { path: ours });
      expect(leftOver(before, await snapshot(node), noise)).toEqual([]);
      await each(node, "DEL", goes);
      await each(node, "DEL", goes, ours, { netns: "", prevResult: undefined });
      expect(leftOver(before, await snapshot(node), noise)).toEqual([]);

      const server = await startEcho(node, stays.netns, "stays", [80]);
      const [four] = uplink.node;
      const asked = await ask(node.outside!, [
        ["tcp", four, 8080],
        ["udp", four, 8080],
        ["tcp", four, 8081],
        ["tcp", four, 9090],
      ]);
      expect(asked).toEqual([...new Array(3).fill(`stays ${uplink.outside[0]}`), "ECONNREFUSED"]);
      await each(node, "CHECK", stays);

      // Nothing but names, as in a runtime's last DEL.
      await server.stop();
      await stays.netns.close();
      await goes.netns.close();
      for (let time = 0; time < 2; time++)
        await each(node, "DEL", stays, ours, { netns: "", prevResult: undefined, runtimeConfig: undefined });
      // Addresses alone name the firewall's rules: the reference's own DEL leaves them too then.
      expect(leftOver(start, await snapshot(node), [...noise, ...left, byAddress])).toEqual([]);
      expect(await trace.strangers()).toEqual([]);
    });
  }
}
