import { expect, test } from "bun:test";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { fused, ipam, type Type, told, types, usual } from "../helpers/chain.ts";
import { contract } from "../helpers/contract.ts";
import { addList, checkList, collectList, deleteList, type List, statusOfList } from "../helpers/list.ts";
import { makeNode, type Node } from "../helpers/node.ts";
import { call, errorOf, must, ours, soak } from "../helpers/plugin.ts";
import { leftOver, settled, snapshot } from "../helpers/snapshot.ts";

const bridge = { type: "bridge", isGateway: true, ipMasq: true, ipam };

contract("chain", {
  conf: { plugins: [bridge, { type: "portmap" }, { type: "tuning", allmulti: true }] },
  bad: [
    { change: { plugins: undefined }, names: ["plugins", "required"] },
    { change: { plugins: [] }, names: ["plugins", "[]"] },
    { change: { plugins: {} }, names: ["plugins", "{}"] },
    { change: { plugins: [bridge, 7] }, names: ["plugins[1]", "7"] },
    { change: { plugins: [bridge, bridge, {}] }, names: ["plugins[2].type"] },
    { change: { plugins: [{ type: "" }] }, names: ["plugins[0].type"] },
    { change: { plugins: [{ type: "../bridge" }] }, names: ["plugins[0].type", "../bridge"] },
    { change: { plugins: [bridge, { type: "no-such" }] }, names: ["plugins[1].type", "no-such"] },
    { change: { plugins: [bridge, { type: "chain", plugins: [bridge] }] }, names: ["plugins[1].type", "chain"] },
    { change: { plugins: [bridge, { type: "portmap", capabilities: 1 }] }, names: ["plugins[1].capabilities", "1"] },
    { change: { plugins: [{ ...bridge, mtu: "x" }] }, names: ["mtu", "x", "plugins[0], bridge"] },
    { change: { plugins: [bridge, { type: "tuning", mac: "x" }] }, names: ["mac", "x", "plugins[1], tuning"] },
    { change: { plugins: [{ type: "portmap" }] }, names: ["prevResult", "plugins[0], portmap"] },
    { change: { disableCheck: "yes" }, names: ["disableCheck", "yes"] },
  ],
  refusesDel: /plugins/,
  stays: /cni0|tenon|file \/var\/lib\/cni\/networks|file \/run\/cni/,
});

/** A bridge of a fixed address, so that two nodes can be compared. */
async function prepared(name: string): Promise<Node> {
  const node = await makeNode(name);
  await node.exec("ip", ["link", "add", "cni0", "address", "02:00:00:00:00:99", "type", "bridge"]);
  return node;
}

/** The text of a result, without the address that the kernel rolls dice for: that of the ifb link. */
const undiced = (result: any) =>
  JSON.stringify(result, (_, value) => (value?.name?.startsWith?.("bwp") ? { ...value, mac: "?" } : value));

async function state(node: Node, pod: { exec: Node["exec"] } & Parameters<typeof snapshot>[0]): Promise<string[]> {
  const shaping = async (place: { exec: Node["exec"] }) =>
    (await place.exec("tc", ["qdisc"])).stdout.split("\n").map((line) => `qdisc ${line}`);
  const lines = [
    ...(await snapshot(node)),
    ...(await shaping(node)),
    ...(await snapshot(pod)),
    ...(await shaping(pod)),
  ];
  return lines
    .filter((line) => !/^(file \/run\/tenon|address bwp.* fe80)/.test(line))
    .map((line) => line.replace(/^(link .*"ifname":"bwp.*"address":")[^"]*/, "$1?"));
}

test("chain has the results and makes the state that the list has as plugins, in every version and place", async () => {
  await using apart = await prepared("apart");
  await using together = await prepared("together");
  const places = { "0.3.1": [1, 3], "0.4.0": [0, 2], "1.1.0": [1, 5] } as Record<string, [number, number]>;
  for (const version of ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", "1.1.0 dns"]) {
    const [cniVersion, dns] = version.split(" ") as [string, string?];
    const list = usual(cniVersion, dns ? { bridge: { dns: { nameservers: ["10.9.9.9"], search: ["x"] } } } : {});
    const one = fused(list, ...(dns ? [] : (places[version] ?? [])));
    const run = async (node: Node, list: List) => {
      const pod = await node.netns("pod");
      const at = { netns: pod.path, args: "IgnoreUnknown=1;K8S_POD_NAME=a" };
      const result = await addList(node, list, at, told());
      const made = await state(node, pod);
      if (cniVersion >= "0.4.0") await checkList(node, list, at, result, told());
      if (cniVersion >= "1.1.0") await statusOfList(node, list);
      await deleteList(node, list, at, cniVersion >= "0.4.0" ? result : undefined, told());
      const left = await state(node, pod);
      await pod.close();
      return { result: undiced(result), made, left };
    };
    const [first, second] = await Promise.all([run(apart, list), run(together, one)]);
    expect(second.result).toBe(first.result);
    expect(leftOver(first.made, second.made)).toEqual([]);
    expect(leftOver(first.left, second.left)).toEqual([]);
    expect(first.made.filter((line) => line.includes("qdisc tbf"))).toHaveLength(cniVersion < "0.3.0" ? 0 : 2);
  }
});

/** What makes each plugin fail, with what its message names. */
const failing: Record<Type, [change: object, names: string]> = {
  bridge: [{ bridge: "lo" }, "lo"],
  portmap: [{ conditionsV4: ["-z"] }, "-z"],
  bandwidth: [{ ingressRate: 5 }, "ingressRate"],
  firewall: [{ backend: "firewalld" }, "firewalld"],
  tuning: [{ sysctl: { "net.core.none": "1" } }, "core/none"],
};

test("chain ADD that fails at any of its plugins leaves host and pod as they were", async () => {
  await using node = await prepared("undo");
  const pod = await node.netns("pod");
  const at = { netns: pod.path };
  await deleteList(node, fused(usual("1.1.0")), at, await addList(node, fused(usual("1.1.0")), at, told()), told());
  const before = await state(node, pod);
  for (const [last, type] of types.entries()) {
    const [change, names] = failing[type];
    const list = usual("1.1.0", { [type]: change });
    const runtimeConfig = told();
    const outcome = await call(
      node,
      "ADD",
      { ...fused(list).plugins[0], name: "net", cniVersion: "1.1.0", runtimeConfig },
      at,
    );
    const { msg, details } = errorOf(outcome);
    expect(msg).toContain(names);
    expect(details).toStartWith(`in plugins[${last}], ${type}`);
    expect([type, leftOver(before, await state(node, pod))]).toEqual([type, []]);
    // The same words and code as the plugin's own, where it is reached alone.
    const apart = await addList(node, list, { ...at, containerId: "c2" }, told()).catch((error) => error.message);
    expect(apart).toContain(JSON.stringify(msg).slice(1, -1));
    await deleteList(node, list, { ...at, containerId: "c2" }, undefined, told());
    expect([type, leftOver(before, await state(node, pod))]).toEqual([type, []]);
  }
});

/** A plugin of another suite: notes what it is asked, and refuses ADD where its configuration says so. */
const foreign = `#!/bin/sh
conf=$(cat)
echo "$CNI_COMMAND" >> /run/foreign
case "$CNI_COMMAND $conf" in
  ADD*'"refuse":true'*) echo '{"cniVersion":"1.1.0","code":142,"msg":"Refused by another"}'; exit 1 ;;
  ADD*) echo "$conf" | sed 's/.*"prevResult":{\\(.*\\)}$/{"dns":{"domain":"foreign"},\\1/' ;;
esac
`;

test("chain executes a plugin of another suite, undoes what was before it, and runs none but that", async () => {
  await using node = await prepared("foreign");
  const bin = `${node.dir}/bin`;
  await mkdir(bin);
  await writeFile(`${bin}/foreign`, foreign);
  await chmod(`${bin}/foreign`, 0o755);
  const pod = await node.netns("pod");
  const at = { netns: pod.path, path: `${ours}:${bin}` };
  const list = (more: object): any => ({
    ...{ cniVersion: "1.1.0", name: "net", type: "chain" },
    plugins: [...usual("1.1.0").plugins.slice(0, 2), { type: "foreign", ...more }, { type: "firewall" }],
  });
  const empty = await state(node, pod);
  const result = await must(node, "ADD", list({}), at);
  expect([result.dns, result.ips.length]).toEqual([{ domain: "foreign" }, 2]);
  await must(node, "DEL", { ...list({}), prevResult: result }, at);
  const before = await state(node, pod);
  expect(leftOver(empty, before, [...settled, /cni0|map|foreign/])).toEqual([]);
  const { code, msg, details } = errorOf(await call(node, "ADD", list({ refuse: true }), at));
  expect([code, msg, details]).toEqual([142, "Refused by another", "in plugins[2], foreign"]);
  expect(leftOver(before, await state(node, pod))).toEqual([]);
  const { stdout } = await node.exec("cat", ["/run/foreign"]);
  expect(stdout.split("\n")).toEqual(["ADD", "DEL", "ADD", "DEL"]);
});

test("chain executes a plugin of ours too where the look-up finds another file", async () => {
  await using node = await prepared("wrapped");
  const bin = `${node.dir}/bin`;
  await mkdir(bin);
  const wrapper = `#!/bin/sh\necho "$CNI_COMMAND" >> /run/wrapped\nexec ${ours}/firewall\n`;
  await writeFile(`${bin}/firewall`, wrapper);
  await chmod(`${bin}/firewall`, 0o755);
  const pod = await node.netns("pod");
  const at = { netns: pod.path, path: `${bin}:${ours}` };
  const list = fused(usual("1.1.0"));
  const conf = { ...list.plugins[0], name: "net", cniVersion: "1.1.0" } as any;
  const prevResult = await must(node, "ADD", conf, at);
  await must(node, "CHECK", { ...conf, prevResult }, at);
  await must(node, "DEL", { ...conf, prevResult }, at);
  expect((await node.exec("cat", ["/run/wrapped"])).stdout.split("\n")).toEqual(["ADD", "CHECK", "DEL"]);
});

test("chain runs no program but itself, whatever the verb", async () => {
  await using node = await prepared("trace");
  const pod = await node.netns("pod");
  const conf: any = { ...fused(usual("1.1.0")).plugins[0], name: "net", cniVersion: "1.1.0", runtimeConfig: told() };
  const more: any = { "cni.dev/valid-attachments": [] };
  for (const verb of ["VERSION", "STATUS", "ADD", "CHECK", "DEL", "GC"]) {
    const { stdout } = await node.exec(
      "strace",
      ["-f", "-qq", "-e", "trace=execve,execveat", "-o", `${node.dir}/trace`, `${ours}/chain`],
      {
        input: JSON.stringify({ ...conf, ...more }),
        env: { CNI_COMMAND: verb, CNI_CONTAINERID: "c1", CNI_NETNS: pod.path, CNI_IFNAME: "eth0", CNI_PATH: ours },
      },
    );
    if (verb === "ADD") more.prevResult = JSON.parse(stdout);
    const { stdout: lines } = await node.exec("grep", ["execve.* = 0$", `${node.dir}/trace`]);
    expect([verb, lines.split("\n").length]).toEqual([verb, 1]);
  }
});

test("chain CHECK says what is missing and whose it was, unless it is not to look", async () => {
  await using node = await prepared("check");
  const pod = await node.netns("pod");
  const at = { netns: pod.path };
  const conf: any = { ...fused(usual("1.1.0")).plugins[0], name: "net", cniVersion: "1.1.0", runtimeConfig: told() };
  const known = { ...conf, prevResult: await must(node, "ADD", conf, at) };
  await must(node, "CHECK", known, at);
  await node.exec("tc", ["qdisc", "del", "dev", known.prevResult.interfaces[1].name, "root"]);
  expect(errorOf(await call(node, "CHECK", known, at)).details).toStartWith("in plugins[2], bandwidth");
  await must(node, "CHECK", { ...known, disableCheck: true }, at);
  await must(node, "GC", { ...conf, disableGC: true, "cni.dev/valid-attachments": [] });
  expect((await pod.exec("ip", ["link", "show", "eth0"])).exitCode).toBe(0);
});

test("chain STATUS tells of what the runtime will not pass, and of every plugin that could not serve", async () => {
  await using node = await prepared("status");
  const conf = { ...fused(usual("1.1.0")).plugins[0], type: "chain", name: "net", cniVersion: "1.1.0" };
  expect((await call(node, "STATUS", conf)).stderr).toBe("");
  const { exitCode, stderr } = await call(node, "STATUS", { ...conf, capabilities: { portMappings: true } });
  expect(exitCode).toBe(0);
  expect(stderr).toContain("plugins[2], bandwidth, gets no bandwidth from the runtime");
  const { plugins } = fused(usual("1.1.0", { firewall: { backend: "firewalld" }, tuning: { mac: "x" } }));
  const { code, details } = errorOf(await call(node, "STATUS", { ...conf, ...plugins[0], type: "chain" }));
  expect(code).toBe(50);
  expect(details).toContain("in plugins[3], firewall");
  expect(details).toContain("in plugins[4], tuning");
});

for (const how of ["as plugins", "in one process"]) {
  test(`a chain ${how}, killed half way again and again: GC leaves nothing of the dead, and the living as they were`, async () => {
    await using node = await prepared("kill");
    const list = how === "as plugins" ? usual("1.1.0") : fused(usual("1.1.0"));
    const alive = await node.netns("alive");
    const at = { netns: alive.path, containerId: "alive" };
    const began = performance.now();
    const result = await addList(node, list, at, told(1000));
    const each = (performance.now() - began) / 1000 / list.plugins.length;
    const living = await state(node, alive);
    const count = soak ? 200 : 20;
    const pods = Array.from({ length: count }, (_, index) => `pod${index}`);
    const work = async (name: string, index: number) => {
      const pod = await node.netns(name);
      // Those before the last are whole; the last one is killed, somewhere between its start and its end.
      const reached = { ...list, plugins: list.plugins.slice(0, 1 + (index % list.plugins.length)) };
      // Four at a time on two processors take twice as long as one; to enter the node takes half of a plugin's time.
      const seconds = each * (0.2 + ((how === "as plugins" ? 0.8 : 2) * index) / count);
      await addUntilKilled(node, reached, { netns: pod.path, containerId: name }, told(2000 + 2 * index), seconds);
      if (index % 2) await pod.close();
    };
    for (let from = 0; from < count; from += 4) {
      await Promise.all(pods.slice(from, from + 4).map((name, offset) => work(name, from + offset)));
    }
    expect(leftOver(living, await state(node, alive)).length).toBeGreaterThan(count);
    await collectList(node, list, [{ containerID: "alive", ifname: "eth0" }]);
    expect(leftOver(living, await state(node, alive), [/file \/run\/netns\/pod/])).toEqual([]);
    await checkList(node, list, at, result, told(1000));
    await deleteList(node, list, at, result, told(1000));
  });
}

/** ADD of a list whose last plugin is killed after so many seconds. */
async function addUntilKilled(
  node: Node,
  list: List,
  at: { netns: string; containerId: string },
  tell: any,
  seconds: number,
) {
  const bin = `${node.dir}/${at.containerId}`;
  await mkdir(bin);
  const last = list.plugins.at(-1)!.type;
  // The shell waits, so that what it prints of the end is all there is.
  await writeFile(
    `${bin}/${last}`,
    `#!/bin/sh\ntimeout --signal=KILL ${seconds} ${ours}/${last} > /dev/null\nexit 1\n`,
  );
  await chmod(`${bin}/${last}`, 0o755);
  const before = { ...list, plugins: list.plugins.slice(0, -1) };
  const prevResult = before.plugins.length > 0 ? await addList(node, before, at, tell) : undefined;
  const { capabilities = {}, ...conf } = list.plugins.at(-1)!;
  const passed = Object.entries(tell).filter(([name]) => capabilities[name]);
  const runtimeConfig = passed.length > 0 ? Object.fromEntries(passed) : undefined;
  const { name, cniVersion } = list;
  await call(
    node,
    "ADD",
    { ...conf, capabilities, runtimeConfig, prevResult, name, cniVersion },
    {
      ...at,
      bin,
      path: ours,
    },
  );
}
