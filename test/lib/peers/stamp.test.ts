import { expect, test } from "bun:test";
import type { Snapshot } from "../../../lib/peers/snapshot.ts";
import { makeNode } from "../../helpers/node.ts";
import { onPeers, type Step } from "../../helpers/peers-process.ts";

const snapshot: Snapshot = {
  version: 1,
  network: "pods",
  self: "a",
  nodes: [{ name: "a", subnets: ["10.1.1.0/24"], addresses: ["192.0.2.1"] }],
};

test("a stamp is of one file, one configuration, one boot and one network namespace", async () => {
  await using node = await makeNode("stamp", { uplink: true });
  const file = "/run/tenon/peers/pods.json";
  const stamp = "/run/tenon/peers/pods.stamp";
  const spoil = (line: string): Step[] => [["shell", line], ["stamp"], ["publish", snapshot], ["stamp"]];
  const current = { device: { name: "tenon.1", mtu: 1450 }, problems: [], since: expect.any(Number) };
  for (const line of [
    `touch ${file}`,
    `cp ${file} ${file}.x; mv ${file}.x ${file}`,
    `rm ${file}`,
    `rm ${stamp}`,
    `echo '{' > ${stamp}`,
    `sed -i 's/"boot":"/&x/' ${stamp}`,
    `sed -i 's/"namespace":"/&1/' ${stamp}`,
  ]) {
    const answers = await onPeers(node, { type: "vxlan" }, [["publish", snapshot], ["stamp"], ...spoil(line)]);
    expect({ line, answers: [answers[1], answers[3], answers[5]] }).toMatchObject({
      line,
      answers: [current, null, current],
    });
  }
  const other = await onPeers(node, { type: "vxlan", vni: 2 }, [
    ["stamp"],
    ["conf"],
    ["networks"],
    ["unstamp"],
    ["unstamp"],
  ]);
  expect(other[0]).toBeNull();
  expect(other[1]).toMatchObject({ network: "pods", tunnel: { vni: 1 } });
  expect(other.slice(2)).toEqual([["pods"], true, false]);
}, 20_000);
