// The helper acts for a process that ends, so each test runs one of its own in a node.
import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { makeNode, type Node } from "../../helpers/node.ts";

const lib = resolve(import.meta.dir, "../../../lib");

/** Deletes elements from a process that then ends, with or without releaseLater: how long the process took to end. */
async function ended(node: Node, release: boolean): Promise<number> {
  const script = `
    import { ensureAccepted, removeAccepted } from "${lib}/ip/forward-filter.ts";
    import { releaseLater } from "${lib}/ip/release.ts";
    import { host } from "${lib}/netns/netns.ts";
    import { exit } from "${lib}/sys/libc.ts";
    const pod = { label: "net/a/eth0", addresses: ["10.1.0.2"] };
    ensureAccepted(host, pod);
    removeAccepted(host, pod);
    ${release ? "releaseLater(host);" : ""}
    await Bun.write("${node.dir}/end", String(performance.timeOrigin + performance.now()));
    exit(0);
  `;
  await node.exec(process.execPath, ["-e", script]);
  return performance.timeOrigin + performance.now() - Number(await Bun.file(`${node.dir}/end`).text());
}

test("a process that deleted through netfilter ends without waiting for the kernel, and its helper soon after", async () => {
  await using node = await makeNode("release");
  const times: number[][] = [[], []];
  for (let round = 0; round < 7; round++) for (const how of [0, 1]) times[how]!.push(await ended(node, how === 1));
  // The shortest: the kernel's wait has a least time, what else the machine does has none.
  const [waiting, free] = times.map((list) => Math.min(...list));
  expect(free!).toBeLessThan(waiting!);
  await Bun.sleep(200);
  const { stdout } = await node.exec("ps", ["-eo", "args"]);
  expect(stdout).not.toContain("releaseLater");
  expect((await node.exec("ls", ["/run/tenon"])).stdout).toBe("helper");
});

test("without a netfilter socket, or where helpers are not used, none is made", async () => {
  await using node = await makeNode("release");
  const release = `import { releaseLater } from "${lib}/ip/release.ts"; import { host } from "${lib}/netns/netns.ts"; releaseLater(host);`;
  await node.exec(process.execPath, ["-e", release]);
  expect((await node.exec("ls", ["/run"])).stdout).not.toContain("tenon");
  await node.exec("sh", ["-c", "mkdir /run/tenon; touch /run/tenon/plain-delete"]);
  await ended(node, true);
  expect((await node.exec("ls", ["/run/tenon"])).stdout).toBe("plain-delete");
});

test("asked again, it leaves it at the helper that there is", async () => {
  await using node = await makeNode("release");
  const script = `
    import { ensureAccepted, removeAccepted } from "${lib}/ip/forward-filter.ts";
    import { releaseLater } from "${lib}/ip/release.ts";
    import { host } from "${lib}/netns/netns.ts";
    for (const address of ["10.1.0.2", "10.1.0.3"]) {
      const pod = { label: "net/a/eth0", addresses: [address] };
      ensureAccepted(host, pod);
      removeAccepted(host, pod);
      releaseLater(host);
    }
    const { stdout } = Bun.spawnSync(["ps", "--ppid", String(process.pid), "-o", "args="]);
    console.log(stdout.toString().split("\\n").filter((line) => line.includes("releaseLater")).length);
  `;
  expect((await node.exec(process.execPath, ["-e", script])).stdout).toBe("1");
});
