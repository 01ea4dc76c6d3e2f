import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { schemaOf } from "../../../lib/cni/config.ts";
import { CniError } from "../../../lib/cni/errors.ts";
import {
  loadSnapshot,
  peersPath,
  readSnapshot,
  type Snapshot,
  selfOf,
  snapshotConf,
  snapshotText,
  writeSnapshot,
} from "../../../lib/peers/snapshot.ts";

const good: Snapshot = {
  version: 1,
  network: "pods",
  self: "a",
  nodes: [
    { name: "a", subnets: ["10.1.1.0/24", "fd00:1:1::/64"], addresses: ["192.0.2.1", "2001:db8::1"] },
    { name: "b", subnets: ["10.1.2.0/24"], addresses: ["192.0.2.2"], mac: "02:00:00:00:00:02", mtu: 9000 },
  ],
};

const read = (change: object) => readSnapshot(JSON.stringify({ ...good, ...change }), "/x.json");
function refusal(change: object): CniError {
  try {
    read(change);
  } catch (error) {
    if (error instanceof CniError) return error;
  }
  throw new Error("it was accepted");
}
const [a, b] = good.nodes as [(typeof good.nodes)[0], (typeof good.nodes)[0]];

test("a snapshot that is written is read again as it was", () => {
  expect(readSnapshot(snapshotText(good), "/x.json")).toEqual(good);
  expect(selfOf(good)).toBe(a);
});

test("texts become canonical, and what is unknown is passed over", () => {
  const nodes = [
    a,
    { name: "b", subnets: ["FD00:2:0::/64"], addresses: ["2001:DB8:0::2"], mac: "02-00-00-00-00-0A", note: 1 },
  ];
  expect(read({ nodes, more: true }).nodes[1]).toEqual({
    name: "b",
    subnets: ["fd00:2::/64"],
    addresses: ["2001:db8::2"],
    mac: "02:00:00:00:00:0a",
  });
});

test("what is wrong is named with key, value and file", () => {
  const changed = (change: object) => ({ nodes: [a, { ...b, ...change }] });
  for (const [change, words] of [
    [{ version: 2 }, ["version", "2"]],
    [{ self: "c" }, ["self", "c"]],
    [{ self: "" }, ["self"]],
    [{ network: undefined }, ["network"]],
    [{ nodes: {} }, ["nodes"]],
    [changed({ name: "a" }), ["nodes[1].name", "a"]],
    [changed({ subnets: ["10.1.2.3/24"] }), ["nodes[1].subnets[0]", "10.1.2.3/24", "10.1.2.0/24"]],
    [changed({ subnets: ["10.1.0.0/16"] }), ["10.1.1.0/24", "10.1.0.0/16", "overlaps"]],
    [changed({ subnets: ["10.1.1.128/25"] }), ["nodes[1].subnets[0]", "10.1.1.128/25", "overlaps"]],
    [changed({ subnets: ["10.1.1.0/24"] }), ["10.1.1.0/24", "overlaps"]],
    [changed({ addresses: ["192.0.2.1"] }), ["nodes[1].addresses[0]", "192.0.2.1", '"a"']],
    [changed({ addresses: ["node-b"] }), ["nodes[1].addresses[0]", "node-b"]],
    [changed({ addresses: ["0.0.0.0"] }), ["nodes[1].addresses[0]", "0.0.0.0"]],
    [changed({ addresses: ["ff02::1"] }), ["nodes[1].addresses[0]", "ff02::1"]],
    [changed({ mac: "01:00:5e:00:00:01" }), ["nodes[1].mac", "01:00:5e:00:00:01"]],
    [changed({ mtu: 100 }), ["nodes[1].mtu", "100"]],
  ] as [object, string[]][]) {
    const { code, message } = refusal(change);
    expect(code).toBe(7);
    for (const word of [...words, "/x.json"]) expect(message).toContain(word);
  }
  expect(() => readSnapshot("{", "/x.json")).toThrow("/x.json");
});

test("networks side by side do not overlap, in whatever order and family", () => {
  const nodes = Array.from({ length: 300 }, (_, at) => ({
    name: `n${at}`,
    subnets: [`10.${at >> 8}.${at & 255}.0/24`, `fd00:0:${at.toString(16)}::/64`],
    addresses: [],
  })).reverse();
  expect(read({ self: "n0", nodes }).nodes.length).toBe(300);
});

test("the file is replaced whole, and nothing is left beside it", () => {
  const folder = mkdtempSync(join(tmpdir(), "tenon-peers-"));
  try {
    const path = join(folder, "deep/pods.json");
    expect(loadSnapshot(path)).toBeUndefined();
    writeSnapshot(good, path);
    writeSnapshot({ ...good, self: "b" }, path);
    expect(loadSnapshot(path)).toEqual({ ...good, self: "b" });
    expect(readdirSync(join(folder, "deep"))).toEqual(["pods.json"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
  expect(peersPath("pods")).toBe("/run/tenon/peers/pods.json");
});

test("the published schema is that of the table", () => {
  const published = JSON.parse(readFileSync("docs/peers.schema.json", "utf8"));
  const made = { $schema: "https://json-schema.org/draft/2020-12/schema", ...schemaOf(snapshotConf) };
  expect(published).toEqual(JSON.parse(JSON.stringify(made)));
});
