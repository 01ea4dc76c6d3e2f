// A node whose pods are of both backends of the reference and of ours: all of them whole, until the last is gone.
import { expect, test } from "bun:test";
import { ask, startEcho, type Target } from "../helpers/echo.ts";
import { makeNode, uplink } from "../helpers/node.ts";
import { ours } from "../helpers/plugin.ts";
import { leftOver, snapshot } from "../helpers/snapshot.ts";
import { type Attached, attachChain, chain, each, left, suites } from "../helpers/upgrade.ts";

const [four, six] = uplink.node;

test("two pods of the reference, two of ours, and more of ours as the others go", async () => {
  await using node = await makeNode("mixed", { uplink: true });
  const start = await snapshot(node);
  const pods: Attached[] = [];
  const servers: { stop(): Promise<void> }[] = [];
  const attach = async (at: number, suite: (typeof suites)[number], bin: string) => {
    pods[at] = await attachChain(node, `pod${at}`, chain(suite, "bridge", 8000 + 10 * at), bin);
    servers[at] = await startEcho(node, pods[at].netns, `pod${at}`, [80]);
  };
  const detach = async (at: number) => {
    const conversation: Target[] = [["udp", four, 8000 + 10 * at, 5000 + at]];
    expect(await ask(node.outside!, conversation)).toEqual([`pod${at} ${uplink.outside[0]}`]);
    await servers[at]!.stop();
    await each(node, "DEL", pods[at]!);
    // Were it remembered, what goes on would be led to nobody.
    expect(await ask(node.outside!, conversation)).toEqual(["ECONNREFUSED"]);
    await pods[at]!.netns.close();
  };
  await attach(0, suites[1], suites[1].bin);
  await attach(1, suites[2], suites[2].bin);
  await attach(2, suites[1], ours);
  await attach(3, suites[2], ours);
  const outside = await startEcho(node, node.outside!, "outside", [90]);
  // The reference has the kernel test the bridge's IPv6 address for duplicates: till then nobody answers from there.
  const untilTested = 'for try in $(seq 100); do [ -z "$(ip -6 addr show tentative)" ] && break; sleep 0.05; done';
  await node.exec("sh", ["-c", untilTested]);

  const whole = async (...living: number[]) => {
    const addressOf = (at: number): string => pods[at]!.result.ips[0].address.split("/")[0];
    // By host ports from outside: both protocols, both families, and one address.
    const targets = living.flatMap((at): Target[] => {
      const port = 8000 + 10 * at;
      return [
        ["tcp", four, port],
        ["udp", four, port],
        ["tcp", six, port],
        ["tcp", four, port + 1],
      ];
    });
    const heard = await ask(node.outside!, targets);
    expect(heard.map((text) => text.split(" ")[0])).toEqual(
      living.flatMap((at) => [`pod${at}`, `pod${at}`, `pod${at}`, `pod${at}`]),
    );
    for (const at of living) {
      await each(node, "CHECK", pods[at]!);
      // Neighbours see each other's addresses, the outside the node's.
      const others = living.filter((other) => other !== at);
      const near = others.map((other): Target => ["tcp", addressOf(other), 80]);
      expect(await ask(pods[at]!.netns, [...near, ["tcp", uplink.outside[0], 90]])).toEqual([
        ...others.map((other) => `pod${other} ${addressOf(at)}`),
        `outside ${four}`,
      ]);
    }
  };
  await whole(0, 1, 2, 3);
  for (const at of [0, 2]) await detach(at);
  await attach(0, suites[1], ours);
  await whole(0, 1, 3);
  await outside.stop();
  for (const at of [1, 3, 0]) await detach(at);
  const own = /^\+ (nft .*"(table|name)":"tenon"|file \/run\/tenon|.*fe80::)/;
  expect(leftOver(start, await snapshot(node), [...left, own])).toEqual([]);
  expect((await node.exec("nft", ["list", "ruleset"])).stdout).not.toContain("net/pod");
}, 30_000);
