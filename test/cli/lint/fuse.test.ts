import { expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { suite } from "../../../build/plugins.ts";
import { readDocument } from "../../../cli/lint/document.ts";
import { fuse } from "../../../cli/lint/fuse.ts";
import { ask, startEcho } from "../../helpers/echo.ts";
import { ipam, list } from "../../helpers/lint.ts";
import { addList, checkList, deleteList, type List } from "../../helpers/list.ts";
import { makeNode, uplink } from "../../helpers/node.ts";
import { snapshot } from "../../helpers/snapshot.ts";

const bridge = { type: "bridge", ipam, capabilities: { mac: true } };
const portmap = { type: "portmap", capabilities: { portMappings: true, other: false } };
const fused = (plugins: object[], more = {}) => {
  const { name, text } = list(plugins, more);
  return fuse(readDocument(name, text, () => {})!, suite);
};

test("a run of our plugins becomes one entry, which asks for all that they ask for", () => {
  expect(fused([bridge, portmap], { disableCheck: true })).toEqual({
    cniVersion: "1.1.0",
    name: "pods",
    plugins: [{ type: "chain", capabilities: { mac: true, portMappings: true }, plugins: [bridge, portmap] }],
    disableCheck: true,
  });
  const plain = fused([{ type: "bridge" }, { type: "tuning" }]).plugins as any[];
  expect(plain[0].capabilities).toBeUndefined();
});

test("others' plugins stay before and after it, and are refused in between", () => {
  const other = { type: "calico" };
  expect((fused([other, portmap, { type: "tuning" }, other]).plugins as any[]).map(({ type }) => type)).toEqual([
    "calico",
    "chain",
    "calico",
  ]);
  expect(() => fused([bridge, other, portmap])).toThrow(
    'Cannot fuse plugins[1] "calico" of a.conflist: it is none of ours, and stands between two that are',
  );
});

test("what cannot or need not be fused is refused", () => {
  expect(() => fused([{ type: "calico" }])).toThrow("none of them is ours");
  expect(() => fused([bridge])).toThrow("only one of them is ours");
  expect(() => fused([{ type: "chain", plugins: [bridge, portmap] }])).toThrow("it is a chain already");
  const single = readDocument("a.conf", JSON.stringify({ name: "n", ...bridge }), () => {})!;
  expect(() => fuse(single, suite)).toThrow("not a list");
});

test("the fused list gives a pod what the ordinary one gives it", async () => {
  const ordinary: List = JSON.parse(await readFile("docs/examples/portmap.conflist", "utf8"));
  const document = readDocument("portmap.conflist", JSON.stringify(ordinary), () => {})!;
  const told = { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }] };
  const served = await Promise.all(
    [ordinary, fuse(document, suite) as unknown as List].map(async (list) => {
      await using node = await makeNode("fused", { uplink: true });
      const pod = await node.netns("pod");
      const at = { netns: pod.path, containerId: "pod" };
      const result = await addList(node, list, at, told);
      await checkList(node, list, at, result, told);
      await startEcho(node, pod, "pod", [80]);
      const answer = await ask(node.outside!, [["tcp", uplink.node[0], 8080]]);
      // What is random or the node's own says nothing of the list.
      const made = (await snapshot(node)).filter((line) => !/fe80:|"ifname":"eth0"|host-local\//.test(line));
      await deleteList(node, list, at, result, told);
      const left = (await snapshot(node)).filter((line) => line.includes("/pod/"));
      const { mac } = result.interfaces[0];
      const text = JSON.stringify(result).replaceAll(mac, "BRIDGE");
      return { answer, result: text, made: made.map((line) => line.replaceAll(mac, "BRIDGE")), left };
    }),
  );
  expect(served[0]!.answer).toEqual([`pod ${uplink.outside[0]}`]);
  expect(served[1]).toEqual(served[0]!);
  expect(served[0]!.left).toEqual([]);
});
