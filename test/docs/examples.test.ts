// Every example of the docs, executed on a node: STATUS, ADD, CHECK, DEL, GC; nothing is left of the pod.
import { expect, test } from "bun:test";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { suite } from "../../build/plugins.ts";
import { lint } from "../../cli/lint/lint.ts";
import { hostLinkName } from "../../lib/cni/identity.ts";
import { addList, checkList, collectList, deleteList, type List, statusOfList } from "../helpers/list.ts";
import { makeNode, type Node, uplink } from "../helpers/node.ts";
import { leftOver, snapshot } from "../helpers/snapshot.ts";

const folder = "docs/examples";
const files = (await readdir(folder)).filter((name) => name.endsWith(".conflist")).sort();
const read = async (file: string): Promise<List> => JSON.parse(await readFile(`${folder}/${file}`, "utf8"));

/** What a runtime tells of a pod that has it all. */
const told = {
  portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
  bandwidth: { ingressRate: 80_000_000, ingressBurst: 8_000_000, egressRate: 80_000_000, egressBurst: 8_000_000 },
  mac: "02:00:00:00:00:77",
};

const addressesOf = ({ ips = [] }: any): string[] => ips.map(({ address }: any) => `${address.split("/")[0]}"`);

/** Where the list leads to other nodes, there is one. */
async function announce(node: Node, { name, plugins }: List): Promise<void> {
  if (!plugins.some(({ type }) => type === "vxlan" || type === "routes")) return;
  const subnets = (at: number) => [JSON.stringify(plugins[0]).match(/"subnet":"(\d+\.\d+)/)![1] + `.${at}.0/24`];
  const nodes = [
    { name: "here", subnets: subnets(1), addresses: [uplink.node[0]] },
    { name: "there", subnets: subnets(2), addresses: [uplink.outside[0]] },
  ];
  await mkdir(node.path("/run/tenon/peers"), { recursive: true });
  await writeFile(
    node.path(`/run/tenon/peers/${name}.json`),
    JSON.stringify({ version: 1, network: name, self: "here", nodes }),
  );
}

test("every plugin has an example, and there is nothing else", () => {
  expect(files).toEqual(
    Object.keys(suite)
      .sort()
      .map((name) => `${name}.conflist`),
  );
});

test("nothing but notes is said of any of them, nor of all together", async () => {
  const all = await Promise.all(
    files.map(async (name) => ({ name, text: await readFile(`${folder}/${name}`, "utf8") })),
  );
  expect(lint(all, suite).filter(({ severity }) => severity !== "note")).toEqual([]);
});

for (const file of files) {
  test(`${file} serves a pod`, async () => {
    const list = await read(file);
    await using node = await makeNode("example", { uplink: true });
    await announce(node, list);
    const before = await snapshot(node);
    const pod = await node.netns("pod");
    const at = { netns: pod.path, containerId: "pod", ifname: file.startsWith("loopback") ? "lo" : "eth0" };
    await statusOfList(node, list).catch((error) => {
      if (list.name !== "lo") throw error; // an example of a version without STATUS
      expect(error.message).toContain("1.1.0");
    });
    const result = await addList(node, list, at, told);
    const made = await snapshot(node);
    for (const name of result.interfaces.filter(({ sandbox }: any) => !sandbox).map(({ name }: any) => `"${name}"`))
      expect(made.some((line) => line.startsWith("link") && line.includes(name))).toBe(true);
    await checkList(node, list, at, result, told);
    const gateway = result.ips?.find(({ address, gateway }: any) => gateway && !address.includes(":"))?.gateway;
    if (gateway && file !== "static.conflist") await pod.exec("ping", ["-c1", "-W1", gateway]);
    await deleteList(node, list, at, result, told);
    await pod.close();
    if (list.name !== "lo") await collectList(node, list);
    // Bridges, devices and ways to other nodes stay; nothing says the pod's name or has its addresses.
    const own = [`${list.name}/pod/`, hostLinkName(list.name, "pod", at.ifname), ...addressesOf(result)];
    const left = leftOver(before, await snapshot(node));
    expect(left.filter((line) => own.some((text) => line.includes(text)))).toEqual([]);
  });
}
