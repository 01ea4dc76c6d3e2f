import { expect, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { splitPort } from "../../../cli/explain/endpoint.ts";
import { explainIn, said, twoPods } from "../../helpers/explain.ts";

test("a port is told from what stands before it, in either family", () => {
  expect(splitPort("web:80")).toEqual({ whom: "web", port: 80 });
  expect(splitPort("10.0.0.1:80")).toEqual({ whom: "10.0.0.1", port: 80 });
  expect(splitPort("[fd00::1]:80")).toEqual({ whom: "fd00::1", port: 80 });
  expect(splitPort("fd00::80")).toEqual({ whom: "fd00::80" });
  expect(splitPort("/run/netns/a:80")).toEqual({ whom: "/run/netns/a", port: 80 });
  expect(splitPort("default/web")).toEqual({ whom: "default/web" });
});

test("a pod is found by path, name of its namespace, address, container, and the kubelet's names", async () => {
  const { node, a, b, conf } = await twoPods();
  try {
    const id = "0123456789abcdef";
    const cached = {
      kind: "cniCacheV1",
      containerId: id,
      config: Buffer.from(JSON.stringify({ cniVersion: "1.0.0", name: "net", plugins: [conf] })).toString("base64"),
      ifName: "eth0",
      networkName: "net",
      cniArgs: [
        ["K8S_POD_NAMESPACE", "shop"],
        ["K8S_POD_NAME", "web-0"],
      ],
      result: b.result,
    };
    await mkdir(node.path("/var/lib/cni/results"), { recursive: true });
    await writeFile(node.path(`/var/lib/cni/results/net-${id}-eth0`), JSON.stringify(cached));
    for (const whom of [b.path, "b", b.address, id, "012345", "web-0", "shop/web-0", "fd00:1::3"]) {
      const found = await explainIn(node, a.path, whom);
      expect([whom, found.reaches, found.steps.at(-1)!.at]).toEqual([
        whom,
        true,
        whom === "b" ? "pod web-0" : "pod web-0",
      ]);
    }
    expect(said(await explainIn(node, "a", "node"), "route")).toContain("to 10.1.0.1");
    await expect(explainIn(node, "a", "nobody")).rejects.toThrow('Cannot find "nobody"');
    await expect(explainIn(node, "a", "/proc/self/status")).rejects.toThrow("it is no network namespace");
    await expect(explainIn(node, "10.77.0.1", "a")).rejects.toThrow("nobody on this node has it");
  } finally {
    await node.close();
  }
});
