import { expect, test } from "bun:test";
import { referenceDir } from "../../scripts/reference.ts";
import { contract } from "../helpers/contract.ts";
import { makeNode } from "../helpers/node.ts";
import { call, errorOf, must, ours } from "../helpers/plugin.ts";
import { base, both, ifbs, noise, plugged, root, state, tc } from "../helpers/shaping.ts";
import { leftOver, snapshot } from "../helpers/snapshot.ts";

const reference = referenceDir().dir;
const versions = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

// The contract makes pods by itself, and so must find each with its link; a result that names all ends does for all.
const ends = Array.from({ length: 9 }, (_, at) => `end${at}`);
contract("bandwidth", {
  conf: { ...both, prevResult: { interfaces: [...ends, "eth0"].map((name) => ({ name })) } },
  versions,
  exclusive: false,
  bad: [
    { change: { ingressRate: -1 }, names: ["ingressRate", "-1"] },
    { change: { ingressRate: "1M" }, names: ["ingressRate", "1M"] },
    { change: { egressBurst: 1.5 }, names: ["egressBurst", "1.5"] },
    { change: { ingressRate: 0 }, names: ["ingressBurst", "1000000", "ingressRate"] },
    { change: { egressBurst: 0 }, names: ["egressRate", "20000000", "egressBurst"] },
    { change: { egressRate: 7 }, names: ["egressRate", "7"] },
    { change: { egressBurst: 7 }, names: ["egressBurst", "7"] },
    { change: { ingressBurst: 34_359_738_360 }, names: ["ingressBurst", "34359738360"] },
    { change: { shapedSubnets: ["10.0.0.0"] }, names: ["shapedSubnets[0]", "10.0.0.0"] },
    { change: { unshapedSubnets: "10.0.0.0/8" }, names: ["unshapedSubnets", "10.0.0.0/8"] },
    {
      change: { unshapedSubnets: ["10.0.0.0/8"], shapedSubnets: ["10.0.0.0/8"] },
      names: ["unshapedSubnets", "shapedSubnets"],
    },
    { change: { prevResult: undefined }, names: ["prevResult"] },
    { change: { prevResult: { interfaces: [{ name: "eth0" }] } }, names: ["CNI_IFNAME", "eth0", "end0"] },
    { change: { prevResult: {} }, names: ["prevResult", "end0"] },
    { change: { runtimeConfig: { bandwidth: { ingressRate: "x" } } }, names: ["runtimeConfig.bandwidth.ingressRate"] },
  ],
  // The pairs come and go with the pods.
  stays: /^. (link \{"ifname":"|address )end\d/,
  async prepare(node) {
    const make = node.netns;
    let made = 0;
    node.netns = async (name) => {
      const pod = await make(name);
      const end = ends[made++]!;
      await node.exec("ip", ["link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", name]);
      await node.exec("ip", ["link", "set", end, "up"]);
      return pod;
    };
  },
});

test("bandwidth does nothing where no limit is given, and says what it wants where there is no prevResult", async () => {
  await using node = await makeNode("none");
  const { at, prevResult } = await plugged(node, "pod");
  const before = await snapshot(node);
  for (const limits of [
    {},
    { ingressRate: 0, ingressBurst: 0 },
    { runtimeConfig: {} },
    { unshapedSubnets: ["::/0"] },
  ]) {
    const conf = { ...base, ...limits };
    expect(await must(node, "ADD", { ...conf, prevResult }, at)).toEqual(prevResult);
    await must(node, "CHECK", { ...conf, prevResult }, at);
    expect(errorOf(await call(node, "ADD", conf, at)).msg).toContain("prevResult");
    expect(errorOf(await call(node, "CHECK", conf, at)).msg).toContain("prevResult");
  }
  expect(leftOver(before, await snapshot(node), noise)).toEqual([]);
});

test("bandwidth: the MTU of the ifb link is the pair's, and a burst less than a frame is warned of", async () => {
  await using node = await makeNode("mtu");
  const { at, prevResult } = await plugged(node, "pod");
  const first = await call(node, "ADD", { ...base, ...both, prevResult }, at);
  expect(first.json.interfaces[2]).toMatchObject({ name: expect.stringMatching(/^bwp[0-9a-f]{12}$/), mtu: 1400 });
  expect((await ifbs(node)).map(({ mtu, ifalias }) => ({ mtu, ifalias }))).toEqual([
    { mtu: 1400, ifalias: "net/pod/eth0" },
  ]);
  expect(first.stderr).toBe("");
  const small = await call(node, "ADD", { ...base, ...both, ingressBurst: 1413 * 8, prevResult }, at);
  expect(small.exitCode).toBe(0);
  expect(small.stderr).toContain("1413 bytes");
  const enough = await call(node, "ADD", { ...base, ...both, ingressBurst: 1414 * 8, prevResult }, at);
  expect(enough.stderr).toBe("");
});

test("bandwidth: ADD again replaces what is there, also with other limits and subnets", async () => {
  await using node = await makeNode("again");
  const { at, end, prevResult } = await plugged(node, "pod");
  const changes = [both, { ...both, ingressRate: 5_000_000 }, { ...both, unshapedSubnets: ["10.0.0.0/8"] }, both];
  for (const limits of changes) {
    const conf = { ...base, ...limits };
    const result = await must(node, "ADD", { ...conf, prevResult }, at);
    await must(node, "CHECK", { ...conf, prevResult: result }, at);
    expect((await ifbs(node)).length).toBe(1);
    const filters = (await tc(node, "filter", "show", "dev", end, "ingress")).filter(
      ({ options }: any) => options?.match,
    );
    expect(filters.length).toBe("unshapedSubnets" in limits ? 2 : 1);
  }
});

test("bandwidth: names of network and container that run together are not confused", async () => {
  await using node = await makeNode("names");
  const [one, two] = [await plugged(node, "cd"), await plugged(node, "bcd")];
  const confs = [
    { ...base, name: "ab", ...both },
    { ...base, name: "a", ...both },
  ];
  await must(node, "ADD", { ...confs[0], prevResult: one.prevResult }, one.at);
  const result = await must(node, "ADD", { ...confs[1], prevResult: two.prevResult }, two.at);
  await must(node, "DEL", confs[0]!, one.at);
  await must(node, "CHECK", { ...confs[1], prevResult: result }, two.at);
});

test("bandwidth lets others' hooks and filters be, and a pod that lives on after DEL talks on", async () => {
  await using node = await makeNode("others");
  const { at, end, exec, prevResult } = await plugged(node, "pod");
  await node.exec("ip", ["address", "add", "10.9.0.1/24", "dev", end]);
  await exec("ip", ["address", "add", "10.9.0.2/24", "dev", "eth0"]);
  await node.exec("tc", ["qdisc", "add", "dev", end, "ingress"]);
  const theirs = ["protocol", "ip", "pref", "1", "u32", "match", "ip", "dst", "10.9.9.9/32", "flowid", "ffff:1"];
  await node.exec("tc", ["filter", "add", "dev", end, "ingress", ...theirs]);
  const before = (await node.exec("tc", ["filter", "show", "dev", end, "ingress"])).stdout;
  const conf = { ...base, ...both };
  const result = await must(node, "ADD", { ...conf, prevResult }, at);
  await must(node, "CHECK", { ...conf, prevResult: result }, at);
  await exec("ping", ["-c1", "-W1", "10.9.0.1"]);
  await must(node, "DEL", { ...conf, prevResult: result }, at);
  await exec("ping", ["-c1", "-W1", "10.9.0.1"]);
  expect((await node.exec("tc", ["filter", "show", "dev", end, "ingress"])).stdout).toBe(before);
  expect((await root(node, end)).kind).toBe("noqueue");
});

test("bandwidth: an ADD that fails leaves nothing", async () => {
  await using node = await makeNode("undo");
  const { at, end, prevResult } = await plugged(node, "pod");
  await node.exec("tc", ["qdisc", "add", "dev", end, "clsact"]);
  // One priority is of one protocol: ours for everything is refused there.
  const theirs = ["protocol", "arp", "pref", "65522", "u32", "match", "u32", "0", "0", "flowid", "ffff:1"];
  await node.exec("tc", ["filter", "add", "dev", end, "ingress", ...theirs]);
  const before = [...(await snapshot(node)), JSON.stringify(await state(node, end))];
  const failed = errorOf(await call(node, "ADD", { ...base, ...both, prevResult }, at));
  expect(failed).toMatchObject({ code: 100, msg: expect.stringContaining("filter 65522") });
  expect(leftOver(before, [...(await snapshot(node)), JSON.stringify(await state(node, end))], noise)).toEqual([]);
  await node.exec("tc", ["qdisc", "add", "dev", end, "root", "handle", "1:", "htb"]);
  expect(errorOf(await call(node, "ADD", { ...base, ...both, prevResult }, at))).toMatchObject({
    code: 102,
    msg: expect.stringContaining(end),
  });
  expect(await root(node, end)).toMatchObject({ kind: "htb", handle: "1:" });
});

test("bandwidth: what cannot be shaped is named", async () => {
  await using node = await makeNode("cannot");
  const pod = await node.netns("pod");
  const third = await node.netns("third");
  const at = { netns: pod.path };
  const conf = { ...base, ...both, prevResult: { interfaces: [{ name: "end" }, { name: "eth0" }] } };
  const refused = async (words: string) => {
    const { code, msg } = errorOf(await call(node, "ADD", conf, at));
    expect(code).toBe(7);
    expect(msg).toContain('CNI_IFNAME "eth0"');
    expect(msg).toContain(words);
  };
  await refused("no link of that name");
  await pod.exec("ip", ["link", "add", "eth0", "type", "ifb"]);
  await refused("virtual Ethernet");
  await pod.exec("ip", ["link", "del", "eth0"]);
  await pod.exec("ip", ["link", "add", "eth0", "type", "veth", "peer", "name", "end"]);
  await refused("virtual Ethernet");
  await pod.exec("ip", ["link", "set", "end", "netns", third.name]);
  await refused("virtual Ethernet");
  await pod.exec("ip", ["link", "del", "eth0"]);
  await node.exec("ip", ["link", "add", "stranger", "type", "veth", "peer", "name", "eth0", "netns", "pod"]);
  await refused('"stranger" is not among');
  expect(await ifbs(node)).toEqual([]);
});

test("bandwidth CHECK finds what was taken away", async () => {
  await using node = await makeNode("check");
  const { at, end, prevResult } = await plugged(node, "pod");
  const breaks: [command: string, names: string][] = [
    [`tc qdisc del dev ${end} root`, end],
    [`tc qdisc change dev ${end} root tbf rate 1mbit burst 125000 limit 156250`, "125000 bytes a second"],
    [`tc qdisc del dev ${end} clsact`, "filter"],
    [`tc filter del dev ${end} ingress`, "filter"],
    ["tc qdisc del dev $(ip -br link show type ifb | cut -d' ' -f1) root", "bwp"],
    ["ip link del $(ip -br link show type ifb | cut -d' ' -f1)", "ifb"],
  ];
  for (const [command, names] of breaks) {
    const conf = { ...base, ...both };
    const known = { ...conf, prevResult: await must(node, "ADD", { ...conf, prevResult }, at) };
    await must(node, "CHECK", known, at);
    await node.exec("sh", ["-c", command]);
    const { code, msg } = errorOf(await call(node, "CHECK", known, at));
    expect(`${command}: ${msg}`).toContain(names);
    expect(code).toBe(101);
    await must(node, "DEL", known, at);
  }
});

test("bandwidth after bridge: a chain is made, checked and taken down, the last DEL knowing names alone", async () => {
  await using node = await makeNode("chain");
  const before = await snapshot(node);
  const pod = await node.netns("pod");
  const at = { netns: pod.path };
  const subnet = "10.1.0.0/24";
  const bridge = { ...base, type: "bridge", isGateway: true, ipam: { type: "host-local", subnet } };
  const conf = { ...base, ...both, cniVersion: "1.0.0" };
  const prevResult = await must(node, "ADD", { ...bridge, cniVersion: "1.0.0" }, at);
  const result = await must(node, "ADD", { ...conf, prevResult }, at);
  expect(result.ips).toEqual(prevResult.ips);
  expect(result.interfaces.slice(0, 3)).toEqual(prevResult.interfaces);
  await must(node, "CHECK", { ...bridge, cniVersion: "1.0.0", prevResult: result }, at);
  for (const bin of [ours, reference]) await must(node, "CHECK", { ...conf, prevResult: result }, { ...at, bin });
  await pod.exec("ping", ["-c1", "-W1", "10.1.0.1"]);
  const end = result.interfaces[1].name;
  await must(node, "DEL", conf, {});
  expect(await state(node, end)).toMatchObject({ sends: { kind: "noqueue" }, redirects: [] });
  await pod.exec("ping", ["-c1", "-W1", "10.1.0.1"]);
  await must(node, "DEL", bridge, {});
  await must(node, "DEL", conf, {});
  await pod.close();
  expect(leftOver(before, await snapshot(node), [/cni0|\/var\/lib\/cni|\/run\/(tenon|netns)/])).toEqual([]);
});

test("bandwidth GC removes the ifb links of many dead attachments, also where their names are long, and no others", async () => {
  await using node = await makeNode("gc");
  const conf = { ...base, name: "n".repeat(150), ...both };
  const pods = await Promise.all(["a", "b", "c", "d"].map((name) => plugged(node, name)));
  for (const { at, prevResult } of pods) await must(node, "ADD", { ...conf, prevResult }, at);
  await node.exec("ip", ["link", "add", "bwp000000000000", "type", "ifb"]); // of the reference, or of nobody
  const alive = { containerID: "b", ifname: "eth0" };
  await must(node, "GC", { ...conf, "cni.dev/valid-attachments": [alive, { containerID: "c", ifname: "eth9" }] });
  expect((await ifbs(node)).map(({ ifalias = "" }) => ifalias.endsWith("/eth0"))).toEqual([true, false]);
  await must(node, "CHECK", { ...conf, prevResult: pods[1]!.prevResult }, pods[1]!.at);
});

test("bandwidth runs no program", async () => {
  await using node = await makeNode("trace");
  const { at, prevResult } = await plugged(node, "pod");
  const env = (verb: string) => ({
    CNI_COMMAND: verb,
    CNI_CONTAINERID: at.containerId,
    CNI_NETNS: at.netns,
    CNI_IFNAME: at.ifname,
    CNI_PATH: ours,
  });
  for (const verb of ["ADD", "CHECK", "STATUS", "DEL", "GC", "VERSION"]) {
    const input = JSON.stringify({ ...base, ...both, prevResult, "cni.dev/valid-attachments": [] });
    const trace = ["-f", "-qq", "-e", "trace=execve,execveat", "-o", `${node.dir}/trace`, `${ours}/bandwidth`];
    await node.exec("strace", trace, { input, env: env(verb) });
    expect(`${verb} ${(await node.exec("grep", ["-c", "execve", `${node.dir}/trace`])).stdout}`).toBe(`${verb} 1`);
  }
});
