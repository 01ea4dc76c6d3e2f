// What needs no server; joining is tested with the source.
import { expect, test } from "bun:test";
import { tenonLayout } from "../../../cli/agent/tenon-layout.ts";

const layout = tenonLayout("/tenon", "pods", [{ cidr: "10.244.0.0/16", size: 24 }]);

test("a record is a node of the snapshot, and no more", () => {
  const node = { name: "a", subnets: ["10.244.1.0/24"], addresses: ["192.0.2.1"], mac: "02:00:00:00:00:01", mtu: 1500 };
  expect(layout.nodes).toBe("/tenon/pods/nodes/");
  expect(layout.read("/tenon/pods/nodes/a", JSON.stringify({ ...node, id: "x" }))).toEqual(node);
});

test("a record under another node's key is refused", () => {
  const text = JSON.stringify({ name: "a", subnets: [], addresses: [] });
  expect(() => layout.read("/tenon/pods/nodes/b", text)).toThrow('Cannot use "/tenon/pods/nodes/b": it holds node "a"');
});
