// Pairs are made in the process's own namespace, so what makes any runs as a process of its own in a node.
import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { isPodThere } from "../../../lib/ip/replug.ts";
import { makeNode } from "../../helpers/node.ts";

const result = (sandbox?: string) => ({
  interfaces: [{ name: "eth0" }, { name: "eth0", mac: "0a:58:0a:00:00:02", mtu: 1400, sandbox }],
});

test("a pod is there if its path leads to a network namespace that is not the host's, and not by way of a process", () => {
  for (const path of [undefined, "/none", "/etc/hostname/none", import.meta.path, "/", `/proc/${process.pid}/ns/net`])
    expect(isPodThere(result(path), "eth0")).toBe(false);
});

test("a pair is made again under a living pod alone, where neither end is there, and none is left of one that failed", async () => {
  await using node = await makeNode("replug");
  const pod = await node.netns("pod");
  const name = "tnaaaaaaaaaaaaa";
  const run = async (more = "") => {
    const { stdout } = await node.exec(process.execPath, [
      "-e",
      `import { isPodThere, pairPart } from "${resolve(import.meta.dir, "../../../lib/ip/replug.ts")}";
      const result = ${JSON.stringify(result(pod.path))};
      let configured = 0;
      const pair = { hostName: "${name}", label: "net/c/eth0", ifname: "eth0", mtu: 1500, result };
      const part = pairPart(pair, (pod, index) => { configured++; ${more} });
      const said = (body) => { try { body(); return "done"; } catch ({ message }) { return message; } };
      const answers = [isPodThere(result, "eth0"), said(part.check), said(() => part.ensure(false)), said(part.check)];
      console.log(JSON.stringify([...answers, configured]));`,
    ]);
    return JSON.parse(stdout);
  };
  const gone = `Cannot find link "${name}"`;
  expect(await run('throw new Error("refused")')).toEqual([true, gone, "refused", gone, 1]);
  expect(await run()).toEqual([true, gone, "done", "done", 1]);
  const { stdout } = await node.exec("ip", ["-j", "link", "show", name]);
  expect(JSON.parse(stdout)[0]).toMatchObject({ ifalias: "net/c/eth0", mtu: 1400 });
  const inner = JSON.parse((await pod.exec("ip", ["-j", "link", "show", "eth0"])).stdout)[0];
  expect(inner).toMatchObject({ address: "0a:58:0a:00:00:02", mtu: 1400 });
  expect(await run()).toEqual([true, "done", "done", "done", 0]);
  await pod.exec("bash", ["-ec", "ip link delete eth0; ip link add eth0 type veth peer name other"]);
  expect(await run()).toEqual([true, gone, "done", gone, 0]);
  await node.exec("bash", ["-ec", `umount /run/netns/pod`]);
  expect(await run()).toEqual([false, gone, "done", gone, 0]);
  await pod.close();
  expect(await run()).toEqual([false, gone, "done", gone, 0]);
});
