import { expect, test } from "bun:test";
import { pathsOf } from "../../../lib/peers/conf.ts";
import { clusterOf, familiesOf } from "../../../lib/peers/plan.ts";
import type { Snapshot } from "../../../lib/peers/snapshot.ts";
import { makeNode } from "../../helpers/node.ts";
import { onPeers } from "../../helpers/peers-process.ts";

const snapshot: Snapshot = {
  version: 1,
  network: "pods",
  self: "a",
  nodes: [
    { name: "a", subnets: ["10.1.1.0/24"], addresses: ["192.0.2.1"] },
    { name: "b", subnets: ["10.1.2.0/24", "fd00:2::/64"], addresses: ["192.0.2.2", "2001:db8::2"] },
  ],
};

test("the cluster is the configured networks, or else those that nodes have; its nodes those of the snapshot", () => {
  const nodes = ["192.0.2.1", "192.0.2.2", "2001:db8::2"];
  const pods = ["10.1.1.0/24", "10.1.2.0/24", "fd00:2::/64"];
  expect(clusterOf(pathsOf("pods", { type: "vxlan" })!, snapshot)).toEqual({ network: "pods", pods, nodes });
  const paths = pathsOf("pods", { type: "vxlan", clusterCidrs: ["10.1.0.0/16"] })!;
  expect(clusterOf(paths, snapshot)).toEqual({ network: "pods", pods: ["10.1.0.0/16"], nodes });
  expect(familiesOf(snapshot)).toEqual([4, 6]);
});

test("the snapshot is there, and is the network's, or that is said", async () => {
  await using node = await makeNode("plan");
  const write = (text: string) =>
    ["shell", `mkdir -p /run/tenon/peers; echo '${text}' > /run/tenon/peers/pods.json`] as const;
  const answers = await onPeers(node, { type: "vxlan" }, [
    ["read"],
    [...write(JSON.stringify(snapshot))],
    ["read"],
    [...write(JSON.stringify({ ...snapshot, network: "other" }))],
    ["read"],
    [...write("{")],
    ["read"],
  ]);
  expect(answers[0]).toMatchObject({ code: 11, message: expect.stringContaining("/run/tenon/peers/pods.json") });
  expect(answers[2]).toEqual(snapshot);
  expect(answers[4]).toMatchObject({ code: 7, message: expect.stringContaining('"other"') });
  expect(answers[6]).toMatchObject({ code: 6 });
});
