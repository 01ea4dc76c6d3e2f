// Broken states within the node: packets do not get through, and the explanation says where.
import { expect, test } from "bun:test";
import { ask, startEcho } from "../../helpers/echo.ts";
import { explainIn, type Pod, pings, podOn, said, twoPods } from "../../helpers/explain.ts";
import { bridge, firewall } from "../../helpers/firewall.ts";
import { makeNode, type Node } from "../../helpers/node.ts";
import { must } from "../../helpers/plugin.ts";

const second = bridge("other", "cni1", ["10.2.0.0/16"]);

/** A third pod, c, on a bridge of its own. */
async function twoBridges(body: (place: { node: Node; a: Pod; b: Pod; c: Pod }) => Promise<void>, more = {}) {
  const { node, a, b } = await twoPods(more, { uplink: true });
  try {
    const c = await podOn(node, "c", second);
    expect([await pings(a.netns, c.address, true), (await explainIn(node, "a", c.path)).reaches]).toEqual([true, true]);
    await body({ node, a, b, c });
  } finally {
    await node.close();
  }
}

async function stopsAfter(node: Node, from: Pod, to: string, script: string): Promise<string | undefined> {
  await node.exec("sh", ["-ec", script]);
  expect(await pings(from.netns, to)).toBe(false);
  return (await explainIn(node, from.path, to)).stopped;
}

test("from bridge to bridge: forwarding, rp_filter, routes, links", async () => {
  await twoBridges(async ({ node, a, c }) => {
    const stops = (script: string) => stopsAfter(node, a, c.address, script);
    expect(await stops("echo 0 > /proc/sys/net/ipv4/ip_forward")).toBe(
      "node: forwarding: net/ipv4/conf/cni0/forwarding is 0: the node forwards no IPv4 packets that come in by cni0",
    );
    await node.exec("sh", ["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    const away = `ip route add ${a.address} dev eth0 scope link`;
    expect(await stops(`echo 1 > /proc/sys/net/ipv4/conf/cni0/rp_filter; ${away}`)).toBe(
      `node: rp_filter: ${a.address} comes in by cni0, but the way back to it leads to eth0: net.ipv4.conf.*.rp_filter drops it`,
    );
    await node.exec("ip", ["route", "del", a.address]);
    expect(await stops(`ip route add blackhole ${c.address}`)).toMatch(/^node: route: .*drops it/);
    await node.exec("ip", ["route", "del", "blackhole", c.address]);
    expect(await stops("ip neigh replace 10.2.0.2 lladdr 02:00:00:00:00:66 dev cni1 nud permanent")).toBe(
      "node: neighbour: 10.2.0.2 is 02:00:00:00:00:66 (permanent) here, but the pod has 0a:58:0a:02:00:02",
    );
    await node.exec("ip", ["neigh", "del", "10.2.0.2", "dev", "cni1"]);
    expect(await pings(a.netns, c.address, true)).toBe(true);
    expect(await stops("ip link set cni1 down")).toBe("node: bridge: cni1 is down");
  });
});

test("bridges kept apart by plugin firewall", async () => {
  await twoBridges(async ({ node, a, c }) => {
    for (const [pod, conf] of [
      [a, { ...firewall, name: "net" }],
      [c, { ...firewall, name: "other" }],
    ] as const) {
      const at = { netns: pod.path, containerId: pod.netns.name };
      await must(node, "ADD", { ...conf, ingressPolicy: "same-bridge", prevResult: pod.result }, at);
    }
    expect(await stopsAfter(node, a, c.address, "true")).toBe(
      "node: firewall: bridges cni0 and cni1 are kept apart (ingressPolicy of plugin firewall)",
    );
  });
});

test("a FORWARD chain of iptables that drops, until plugin firewall lets the pod pass", async () => {
  await twoBridges(async ({ node, a, c }) => {
    expect(await stopsAfter(node, a, c.address, "iptables -P FORWARD DROP")).toMatch(
      /^node: firewall: chain FORWARD of iptables drops it/,
    );
    for (const pod of [a, c]) {
      const at = { netns: pod.path, containerId: pod.netns.name };
      await must(node, "ADD", { ...firewall, prevResult: pod.result }, at);
    }
    expect([await pings(a.netns, c.address, true), (await explainIn(node, "a", c.address)).reaches]).toEqual([
      true,
      true,
    ]);
  });
});

test("another table that drops may have a rule that lets it pass: a note", async () => {
  await twoBridges(async ({ node, c }) => {
    await node.exec("nft", [
      "add table inet f; add chain inet f x { type filter hook forward priority 5; policy drop; }; add rule inet f x accept",
    ]);
    const { reaches, steps } = await explainIn(node, "a", c.address);
    expect(reaches).toBe(true);
    expect(steps.find(({ what }) => what === "firewall")).toEqual({
      at: "node",
      what: "firewall",
      detail: "chain inet f x drops what none of its rules lets pass",
      state: "note",
    });
  });
});

test("within a bridge: isolated ports, and a forwarding table that was led astray", async () => {
  for (const [more, script, where] of [
    [{ portIsolation: true }, "true", /^node: bridge port: tn\w+ and tn\w+ are both isolated/],
    [
      {},
      "bridge fdb replace 0a:58:0a:01:00:03 dev stray master static sticky",
      /^node: forwarding table: cni0 sends frames for 0a:58:0a:01:00:03 to stray/,
    ],
  ] as const) {
    const { node, a, b } = await twoPods(more);
    try {
      const stray =
        "ip link add stray type veth peer name stray1; ip link set stray master cni0; ip link set stray up; ip link set stray1 up";
      expect(await stopsAfter(node, a, b.address, `${stray}; ${script}`)).toMatch(where);
    } finally {
      await node.close();
    }
  }
});

test("masquerade: outside sees the node, neighbours see the pod", async () => {
  const { node, a, b } = await twoPods({ ipMasq: true }, { uplink: true });
  try {
    const outside = await explainIn(node, a.path, "192.0.2.200");
    expect([outside.reaches, said(outside, "masquerade")]).toEqual([
      true,
      "10.1.0.2 is masqueraded in net/10.1.0.0/16: seen from there it is 192.0.2.1",
    ]);
    expect(said(await explainIn(node, a.path, b.path), "masquerade")).toBeUndefined();
    const c = await podOn(node, "c", second);
    const noted = (await explainIn(node, a.path, c.path)).steps.find(({ what }) => what === "masquerade")!;
    expect([noted.state, noted.detail.includes("seen there as 10.2.0.1")]).toEqual(["note", true]);
    const echo = await startEcho(node, c.netns, "c", [80]);
    expect(await ask(a.netns, [["tcp", c.address, 80]])).toEqual(["c 10.2.0.1"]);
    await echo.stop();
  } finally {
    await node.close();
  }
});

test("a published port leads on to its pod; a port that nobody publishes ends at the node", async () => {
  await twoBridges(async ({ node, a, c }) => {
    const portmap = {
      cniVersion: "1.0.0",
      name: "other",
      type: "portmap",
      runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }] },
    };
    await must(node, "ADD", { ...portmap, prevResult: c.result }, { netns: c.path, containerId: "c" });
    const echo = await startEcho(node, c.netns, "c", [80]);
    expect(await ask(a.netns, [["tcp", "192.0.2.1", 8080]])).toEqual([expect.stringMatching(/^c /)]);
    const found = await explainIn(node, a.path, "192.0.2.1:8080");
    expect([found.reaches, said(found, "published port"), found.steps.at(-1)!.detail]).toEqual([
      true,
      "tcp 192.0.2.1:8080 leads to 10.2.0.2:80, attachment other/c/eth0",
      "tcp 80: somebody listens",
    ]);
    await echo.stop();
    expect((await explainIn(node, a.path, "192.0.2.1:8080")).stopped).toBe("pod c: port: tcp 80: nobody listens");
    expect((await explainIn(node, a.path, "192.0.2.1:8081")).stopped).toBe("node: port: tcp 8081: nobody listens");
  });
});

test("pods without a bridge: the node routes to each, and knows which link leads to it", async () => {
  const node = await makeNode("routed");
  try {
    const ptp = { cniVersion: "1.0.0", name: "p", type: "ptp", ipam: { type: "host-local", subnet: "10.3.0.0/24" } };
    const [a, b] = [await podOn(node, "a", ptp), await podOn(node, "b", ptp)];
    const [, end] = [a, b].map((pod) => pod.result.interfaces[0].name);
    expect(await pings(a.netns, b.address, true)).toBe(true);
    const found = await explainIn(node, "a", b.path);
    expect([found.reaches, found.steps.map(({ what }) => what)]).toEqual([
      true,
      ["link", "route", "link", "neighbour", "route", "firewall", "masquerade", "neighbour", "link", "route back"],
    ]);
    expect(await stopsAfter(node, a, b.address, `ip route del ${b.address}`)).toBe(
      `node: route: no route leads there: from ${a.address} to ${b.address}`,
    );
    await node.exec("ip", ["route", "add", b.address, "dev", end, "mtu", "1400"]);
    await node.exec("ip", ["link", "set", end, "mtu", "1400"]);
    expect((await explainIn(node, "a", b.path)).steps.find(({ what }) => what === "MTU")).toEqual({
      at: "node",
      what: "MTU",
      detail: `${end} takes 1400 bytes, the pod sends 1500: large packets are cut up, or refused`,
      state: "note",
    });
  } finally {
    await node.close();
  }
});

test("a gateway beside its bridge, as VLANs have them: what comes in by it is asked about", async () => {
  const { node, a } = await twoPods({}, { uplink: true });
  try {
    // As in a VLAN, the bridge itself does not answer.
    const beside = `ip addr del 10.1.0.1/16 dev cni0; echo 1 > /proc/sys/net/ipv4/conf/cni0/arp_ignore; ip link add gw0 type veth peer name gw1
      ip link set gw1 master cni0; ip link set gw1 up; ip link set gw0 up; ip addr add 10.1.0.1/16 dev gw0`;
    await node.exec("sh", ["-ec", beside]);
    await node.outside!.exec("ip", ["route", "add", "10.1.0.0/16", "via", "192.0.2.1"]);
    expect(await pings(a.netns, "192.0.2.254", true)).toBe(true);
    expect((await explainIn(node, "a", "192.0.2.254")).reaches).toBe(true);
    expect(await stopsAfter(node, a, "192.0.2.254", "echo 0 > /proc/sys/net/ipv4/conf/gw0/forwarding")).toBe(
      "node: forwarding: net/ipv4/conf/gw0/forwarding is 0: the node forwards no IPv4 packets that come in by gw0",
    );
  } finally {
    await node.close();
  }
});
