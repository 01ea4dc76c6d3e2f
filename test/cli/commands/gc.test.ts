// The command around the sweep: what is shown, what is left alone, what is removed. The rule itself: test/cli/heal.
import { expect, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { forget, remember, tenonIn, twoPods } from "../../helpers/explain.ts";
import { ours } from "../../helpers/plugin.ts";

test("without a runtime on the node nothing is removed", async () => {
  const { node } = await twoPods();
  try {
    const { exitCode, stdout } = await tenonIn(node, "gc", "--dry-run");
    expect([exitCode, stdout]).toEqual([
      1,
      "Nothing is removed: Cannot find a container runtime on this host\n2 alive, 0 dead, 0 silent",
    ]);
  } finally {
    await node.close();
  }
});

test("what a pod left that is long gone is shown, then removed; of other networks it is left", async () => {
  const { node, a, b, conf } = await twoPods();
  try {
    for (const pod of [a, b]) await remember(node, pod, conf);
    const storage = node.path("/var/lib/containers/storage/overlay-containers");
    await mkdir(storage, { recursive: true });
    await writeFile(`${storage}/containers.json`, JSON.stringify([{ id: "a" }]));
    await forget(node, b);
    await node.exec("ip", ["link", "delete", b.result.interfaces[1].name]);
    await b.netns.close();
    // Silent since long ago: the first look was before this boot's first quarter of an hour.
    const state = node.path("/run/sweep.json");
    const boot = (await node.exec("cat", ["/proc/sys/kernel/random/boot_id"])).stdout;
    await writeFile(state, JSON.stringify({ boot, silent: { "net/b/eth0": -1e9 }, runtimes: [] }));
    const gc = (...args: string[]) => tenonIn(node, "gc", "--state", "/run/sweep.json", "--plugin-dir", ours, ...args);
    const shown = await gc("--dry-run");
    expect([shown.exitCode, shown.stdout.split("\n").at(-1)]).toEqual([1, "1 alive, 1 dead, 0 silent"]);
    expect(shown.stdout).toMatch(/\nnet\/b\/eth0 +would be removed +address /);
    expect(JSON.parse((await gc("--network", "other", "--json")).stdout)).toMatchObject({ dead: [], removed: [] });
    const removed = await gc("--network", "net");
    expect([removed.exitCode, /net\/b\/eth0 +removed /.test(removed.stdout)]).toEqual([0, true]);
    expect((await gc()).stdout).toBe("1 alive, 0 dead, 0 silent");
    expect((await node.exec("ls", ["/var/lib/cni/networks/net"])).stdout).not.toContain(b.address);
  } finally {
    await node.close();
  }
});
