// A healer beside living pods: whatever is taken from them on the host with ip, tc and nft comes back as it was.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { hostLinkName } from "../../../lib/cni/identity.ts";
import { converse } from "../../helpers/conversation.ts";
import { ask, startEcho } from "../../helpers/echo.ts";
import { type Healer, startHealer, until } from "../../helpers/healing.ts";
import { attach, detach } from "../../helpers/libcni.ts";
import { makeNode, type Netns, type Node, uplink } from "../../helpers/node.ts";
import { leftOver, snapshot } from "../../helpers/snapshot.ts";

const ranges = [[{ subnet: "10.1.0.0/24" }], [{ subnet: "fd00:1::/64" }]];
const routes = [{ dst: "0.0.0.0/0" }, { dst: "::/0" }];
const bridged = {
  cniVersion: "1.1.0",
  name: "pods",
  plugins: [
    {
      type: "bridge",
      bridge: "cni0",
      isGateway: true,
      ipMasq: true,
      hairpinMode: true,
      macspoofchk: true,
      ipam: { type: "host-local", ranges, routes },
    },
    { type: "portmap", capabilities: { portMappings: true } },
    { type: "firewall", ingressPolicy: "same-bridge" },
    { type: "bandwidth", ingressRate: 1e9, ingressBurst: 8e6, egressRate: 1e9, egressBurst: 8e6 },
  ],
};
const routed = {
  cniVersion: "1.1.0",
  name: "routed",
  plugins: [
    {
      type: "ptp",
      ipMasq: true,
      ipam: { type: "host-local", ranges: [[{ subnet: "10.2.0.0/24" }], [{ subnet: "fd00:2::/64" }]], routes },
    },
  ],
};
const capabilities = {
  portMappings: [
    { hostPort: 8080, containerPort: 80, protocol: "tcp" },
    { hostPort: 8082, containerPort: 81, protocol: "tcp" },
  ],
};
const [port, ptp] = [hostLinkName("pods", "a", "eth0"), hostLinkName("routed", "r", "eth0")];

let [node, healer, web, before]: [Node, Healer, Netns, string[]] = [] as any;
beforeAll(async () => {
  node = await makeNode("heal", { uplink: true });
  const other = await node.netns("other");
  const alone = await node.netns("alone");
  web = await node.netns("web");
  await attach(node, bridged, web, "a", capabilities);
  await attach(node, bridged, other, "b");
  await attach(node, routed, alone, "r");
  await startEcho(node, web, "web", [80]);
  healer = await startHealer(node);
  before = await snapshot(node);
}, 30_000);
afterAll(async () => {
  await healer?.stop();
  await node?.close();
}, 30_000);

/** The device of what comes in gets another MAC address, which nobody sees. */
const differs = async (...allowed: RegExp[]) =>
  leftOver(before, await snapshot(node), [/^. (link \{"ifname":"bwp|address bwp)/, ...allowed]);
/** What further pods leave. */
const later = [/^\+ file \/run\/(netns\/short|tenon\/helper)$/];
const run = (command: string) => node.exec("bash", ["-ec", command]);

describe("comes back", () => {
  const losses: [what: string, command: string, kinds: string[]][] = [
    ["the bridge", "ip link delete cni0", ["bridge", "port", "address"]],
    ["the bridge's state", "ip link set cni0 down", ["bridge", "address"]],
    ["the bridge's address", "ip addr flush dev cni0 scope global", ["address"]],
    ["the way to the bridge's subnet", "ip route delete 10.1.0.0/24; ip -6 route delete fd00:1::/64", ["route"]],
    ["a port's bridge", `ip link set ${port} nomaster`, ["port"]],
    ["a port's state", `ip link set ${port} down`, ["port"]],
    ["a port's settings", `bridge link set dev ${port} hairpin off`, ["port"]],
    ["a port's shaping", `tc qdisc delete dev ${port} root`, ["shaping"]],
    ["the device of what comes in", `ip link delete $(ls /sys/class/net | grep ^bwp | head -1)`, ["shaping"]],
    ["a routed pod's link", `ip link set ${ptp} down`, ["link", "route"]],
    ["a routed pod's routes", `ip route flush proto 116; ip -6 route flush proto 116`, ["route"]],
    ["a routed pod's gateway", `ip addr flush dev ${ptp} scope global`, ["route"]],
    ["a masqueraded address", "nft flush set inet tenon masq/pods/10.1.0.0/24", ["masquerade"]],
    ["the rules of the masquerade", "nft flush chain inet tenon postrouting", ["masquerade", "published ports"]],
    ["a published port", "nft flush map inet tenon ports/ip", ["published ports"]],
    ["the rules of published ports", "nft flush chain inet tenon hostports", ["published ports"]],
    ["who is let through", "nft flush set inet tenon firewall/pods4", ["firewall"]],
    ["the forward filter", "nft flush chain inet tenon forward", ["firewall"]],
    [
      "the spoof check",
      "nft flush set bridge tenon spoof/macs; nft flush chain bridge tenon prerouting",
      ["spoof check"],
    ],
    ["a table", "nft delete table inet tenon", ["masquerade", "published ports", "firewall"]],
    ["everything of nftables", "nft flush ruleset", ["masquerade", "published ports", "firewall", "spoof check"]],
  ];
  test.each(losses)("%s", async (_, command, kinds) => {
    const { repairs } = await healer.counters();
    await run(command);
    const uncounted = async () => {
      const after = (await healer.counters()).repairs;
      return kinds.filter((kind) => (after[kind] ?? 0) === (repairs[kind] ?? 0));
    };
    await until(uncounted, (left) => left.length === 0);
    expect(
      await until(
        () => differs(),
        (lines) => lines.length === 0,
      ),
    ).toEqual([]);
  });

  test("all of it, and is left alone from then on", async () => {
    const { passes } = await healer.counters();
    await Bun.sleep(300);
    expect(await healer.counters()).toMatchObject({ failures: 0, lost: 0, passes });
    expect(healer.log.filter((line) => line.startsWith("Cannot"))).toEqual([]);
  });
});

test("connections through masquerade and by published ports outlive a flushed ruleset", async () => {
  await healer.stop();
  const anchored = await startHealer(node, { anchor: true });
  const outward = await converse(node, node.outside!, web, uplink.outside[0]);
  const inward = await converse(node, web, node.outside!, uplink.node[0], 8082, 81);
  const both = () => Promise.all([outward.say("before"), inward.say("before")]);
  expect(await both()).toEqual([`before ${uplink.node[0]}`, `before ${uplink.outside[0]}`]);
  await run("nft flush ruleset");
  expect(await Promise.all([outward.say("after"), inward.say("after")])).toEqual([
    `after ${uplink.node[0]}`,
    `after ${uplink.outside[0]}`,
  ]);
  await Promise.all([outward.end(), inward.end()]);
  await anchored.stop();
  healer = await startHealer(node);
  await until(
    () => differs(),
    (lines) => lines.length === 0,
  );
  expect(await ask(node.outside!, [["tcp", uplink.node[0], 8080]])).toEqual([`web ${uplink.outside[0]}`]);
});

test("what its own plugins take away stays away, and what is attached meanwhile is kept", async () => {
  const pod = await node.netns("short");
  for (const containerId of ["s1", "s2"]) {
    const short = await attach(node, bridged, pod, containerId, {
      portMappings: [{ ...capabilities.portMappings[0]!, hostPort: 8081 }],
    });
    await run("nft flush map inet tenon ports/ip");
    await until(
      () => ask(node, [["tcp", uplink.node[0], 8080]]),
      ([answer]) => answer!.startsWith("web "),
    );
    await detach(node, bridged, short, {}, pod.path);
    await until(
      () => differs(...later),
      (lines) => lines.length === 0,
    );
  }
  expect((await healer.counters()).failures).toBe(0);
});

test("what it has no room to hear makes it look at everything", async () => {
  await using deaf = await startHealer(node, { room: 2000, gather: 5 });
  await healer.stop();
  const { lost } = await deaf.counters();
  const links = Array.from({ length: 40 }, (_, at) => `link add x${at} type veth peer name y${at}`);
  await node.exec("ip", ["-batch", "-"], {
    input: [...links, "link delete cni0", ...links.map((_, at) => `link delete x${at}`)].join("\n"),
  });
  await until(deaf.counters, (counters) => counters.lost > lost);
  await until(
    () => differs(...later),
    (lines) => lines.length === 0,
  );
});

test("what is taken away again and again comes back at longer intervals, which is said once", async () => {
  await using patient = await startHealer(node, { gather: 5 });
  const fight = "for i in $(seq 200); do ip link set cni0 down; sleep 0.02; done";
  await run(fight);
  const said = patient.log.filter((line) => line.includes("again and again"));
  expect(said).toContain("Something takes bridge cni0 away again and again: it is brought back at longer intervals");
  expect(said.length).toBe(new Set(said).size);
  const { repairs } = await patient.counters();
  expect(repairs.bridge).toBeLessThan(20);
  await until(
    () => differs(...later),
    (lines) => lines.length === 0,
  );
}, 30_000);
