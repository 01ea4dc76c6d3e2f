// The usual chain through containerd's CRI, told what the kubelet tells of a pod: as plugins, and in one process.
import { expect, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fused, types, usual } from "../helpers/chain.ts";
import { releases, startContainerd } from "../helpers/containerd.ts";
import { ask, startEcho, type Target } from "../helpers/echo.ts";
import { makeNode, uplink } from "../helpers/node.ts";
import { pluginFolder } from "../helpers/plugin-folder.ts";
import { leftOver, settled, snapshot } from "../helpers/snapshot.ts";

const allowed = [
  ...settled,
  /^\+ (link \{"ifname":"|address |route .*"dev":")cni0/,
  /^\+ file \/run\/(containerd|nri|runc|cni)\//,
  /^\+ file \/var\/lib\/cni\/results\/$/,
  /^\+ nft \{"map":(?!.*"elem")/,
  /^\+ nft \{"set":.*"name":"firewall\/(bridges|guards|loops)"/, // which bridges are kept apart
];

/** As CRI has them: of the protocols 0 is TCP, 1 UDP. */
const portMappings = [
  { protocol: 0, containerPort: 80, hostPort: 8080 },
  { protocol: 1, containerPort: 80, hostPort: 8080 },
  { protocol: 0, containerPort: 80, hostPort: 8443, hostIp: uplink.node[0] },
];
const annotations = { "kubernetes.io/ingress-bandwidth": "20M", "kubernetes.io/egress-bandwidth": "10M" };

const ways = { "as plugins": usual, "in one process": (version: string) => fused(usual(version)) };
const runs = releases.flatMap((release) => Object.entries(ways).map(([how, make]) => ({ how, make, release })));

for (const { how, make, release } of runs) {
  test(`the usual chain ${how}, with ${release.name}: ports answer, limits are set, and nothing is left when the pod is gone`, async () => {
    const plugins = await pluginFolder(...types, "host-local", "loopback", "chain");
    await using node = await makeNode("chain", { uplink: true });
    const before = await snapshot(node);
    const networks = join(node.dir, "net.d");
    await mkdir(networks);
    await writeFile(join(networks, "10-pods.conflist"), JSON.stringify(make(release.cniVersion)));
    await using containerd = await startContainerd(node, { plugins, networks, release });
    expect(await containerd.networkProblem()).toBe("");
    const pod = await containerd.runPod("a", { portMappings, annotations });
    const { netns, ips } = await containerd.podStatus(pod);
    expect(ips).toHaveLength(2);

    const echo = await startEcho(node, { path: netns }, "pod", [80]);
    const targets = [
      ["tcp", uplink.node[0], 8080],
      ["udp", uplink.node[0], 8080],
      ["tcp", uplink.node[1], 8080],
      ["tcp", uplink.node[0], 8443],
    ] satisfies Target[];
    const client = (host: string) => `pod ${host.includes(":") ? uplink.outside[1] : uplink.outside[0]}`;
    // A new bridge tests its link-local address for a second, and finds no neighbour by IPv6 until then.
    let answers = await ask(node.outside!, targets);
    for (let tries = 0; tries < 5 && answers.includes("timeout"); tries++) answers = await ask(node.outside!, targets);
    expect(answers).toEqual(targets.map(([, host]) => client(host)));
    expect(await ask(node, [["tcp", "127.0.0.1", 8080]])).toEqual(["pod 10.1.0.1"]);
    await node.execAt(netns)("ping", ["-c1", "-W2", uplink.outside[0]]); // masqueraded: outside knows no way to pods

    const limits = JSON.parse((await node.exec("tc", ["-j", "qdisc"])).stdout)
      .filter(({ kind }: any) => kind === "tbf")
      .map(({ options }: any) => (options.rate * 8) / 1e6);
    expect(limits.sort()).toEqual([10, 20]);
    const inside = (path: string) => node.execAt(netns)("cat", [`/proc/sys/net/${path}`]);
    expect((await inside("core/somaxconn")).stdout).toBe("500");
    expect((await node.exec("nft", ["list", "ruleset"])).stdout).toContain(`comment "net/${pod}/eth0"`);

    await echo.stop();
    await containerd.stopPod(pod);
    expect(await ask(node, [["tcp", uplink.node[0], 8080]])).toEqual(["ECONNREFUSED"]);
    await containerd.stopPod(pod); // the kubelet asks again: by now without namespace and result
    await containerd.removePod(pod);
    expect(leftOver(before, await snapshot(node), allowed)).toEqual([]);
  }, 60_000);
}

test.each(releases)(
  "a pod whose chain fails at its end is refused by $name in the plugin's words and leaves nothing",
  async (release) => {
    const plugins = await pluginFolder(...types, "host-local", "loopback", "chain");
    await using node = await makeNode("refused");
    const before = await snapshot(node);
    const networks = join(node.dir, "net.d");
    await mkdir(networks);
    const list = fused(usual(release.cniVersion, { tuning: { sysctl: { "net.core.none": "1" } } }));
    await writeFile(join(networks, "10-pods.conflist"), JSON.stringify(list));
    await using containerd = await startContainerd(node, { plugins, networks, release });
    const refusal = await containerd.runPod("a", { portMappings, annotations }).catch((error) => error.message);
    expect(refusal).toContain('plugin type="chain" failed (add): Cannot use sysctl "core/none"');
    expect(refusal).toContain("in plugins[4], tuning");
    expect(leftOver(before, await snapshot(node), allowed)).toEqual([]);
  },
  60_000,
);
