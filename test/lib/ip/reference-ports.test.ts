// iptables and nft write the rules as the reference's portmap leaves them; we look at them and take them away.
import { afterEach, beforeEach, expect, test } from "bun:test";
import type { Published } from "../../../lib/ip/port-mapping.ts";
import { commentOf, portsChain } from "../../../lib/ip/reference-names.ts";
import { hasReferencePorts, removeReferencePorts, sweepReferencePorts } from "../../../lib/ip/reference-ports.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, type Node } from "../../helpers/node.ts";

let node: Node;
let ns: Namespace;

beforeEach(async () => {
  node = await makeNode("ports");
  ns = openNamespace(node.path("/proc/1/ns/net"));
});

afterEach(async () => {
  ns.close();
  await node.close();
});

const pod = (containerId: string, network: string, last: number, first: number) => ({
  owner: { network, containerId, ifname: "eth0" },
  ports: {
    label: "",
    name: "",
    addresses: [`10.1.0.${last}/16`, `fd00:1::${last}/64`],
    mappings: [
      { hostPort: first, containerPort: 80, protocol: "tcp" },
      { hostPort: first, containerPort: 53, protocol: "udp" },
      { hostPort: first + 1, containerPort: 81, protocol: "tcp", hostIp: "192.0.2.1" },
      { hostPort: first + 2, containerPort: 82, protocol: "tcp", hostIp: "::" },
    ],
    hide: "near",
  } as Published,
});
type Pod = ReturnType<typeof pod>;
const one = pod("c1", "net", 2, 8080);
const two = pod("c2", "net", 3, 9090);
const other = pod("c1", "net2", 4, 7070);

/** What is led in one family, in the words of both programs: destination, protocol, port, end. */
const ledIn = ({ ports: { addresses, mappings } }: Pod, six: boolean) =>
  mappings
    .filter(({ hostIp }) => hostIp === undefined || hostIp.includes(":") === six)
    .map(({ hostIp, protocol, hostPort, containerPort }) => {
      const ip = addresses[six ? 1 : 0]!.split("/")[0];
      return {
        at: hostIp === "::" ? undefined : hostIp,
        protocol,
        hostPort,
        to: `${six ? `[${ip}]` : ip}:${containerPort}`,
      };
    });

async function inIptables(...pods: Pod[]): Promise<void> {
  for (const six of [false, true]) {
    const lines = ["*nat"];
    // Named once more, a chain would be emptied.
    if (!(await ruleset()).includes(`table ${six ? "ip6" : "ip"} nat`)) {
      lines.push(":CNI-HOSTPORT-DNAT -", ":CNI-HOSTPORT-SETMARK -");
      for (const chain of ["PREROUTING", "OUTPUT"])
        lines.push(`-A ${chain} -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT`);
    }
    for (const pod of pods) {
      const chain = portsChain(pod.owner);
      lines.push(`:${chain} -`);
      const led = ledIn(pod, six);
      const source = pod.ports.addresses[six ? 1 : 0];
      for (const { at, protocol, hostPort, to } of led) {
        const what = `${at ? `-d ${at} ` : ""}-p ${protocol} -m ${protocol} --dport ${hostPort}`;
        lines.push(
          `-A ${chain} -s ${source} ${what} -j CNI-HOSTPORT-SETMARK`,
          `-A ${chain} ${what} -j DNAT --to-destination ${to}`,
        );
      }
      for (const protocol of ["tcp", "udp"]) {
        const dports = led.filter((one) => one.protocol === protocol).map(({ hostPort }) => hostPort);
        const comment = `dnat ${commentOf(pod.owner).replaceAll('"', '\\"')}`;
        lines.push(
          `-A CNI-HOSTPORT-DNAT -p ${protocol} -m comment --comment "${comment}" -m multiport --dports ${dports} -j ${chain}`,
        );
      }
    }
    const input = [...lines, "COMMIT", ""].join("\n");
    await node.exec(six ? "ip6tables-nft-restore" : "iptables-nft-restore", ["--noflush"], { input });
  }
}

async function inNftables(...pods: Pod[]): Promise<void> {
  for (const [six, family] of [
    [false, "ip"],
    [true, "ip6"],
  ] as const) {
    const rules = pods.flatMap((pod) =>
      ledIn(pod, six).map(
        ({ at, protocol, hostPort, to }) =>
          `${at ? `${family} daddr ${at} ` : ""}${protocol} dport ${hostPort} dnat to ${to} comment "${pod.owner.containerId}"`,
      ),
    );
    const hidden = pods.map(({ owner, ports: { addresses } }) => {
      const ip = addresses[six ? 1 : 0]!.split("/")[0];
      return `${family} saddr ${ip} ${family} daddr ${ip} masquerade comment "${owner.containerId}"`;
    });
    const chain = (name: string, ...lines: string[]) => `chain ${name} {\n${lines.join("\n")}\n}`;
    const base = (hook: string) =>
      chain(hook, `type nat hook ${hook} priority -100`, "fib daddr type local jump hostports_all");
    const isMade = (await ruleset()).includes(`table ${family} cni_hostport`);
    const fixed = [
      chain("masquerading", "type nat hook postrouting priority srcnat"),
      chain("hostip_hostports"),
      chain("hostports_all", "jump hostip_hostports", "jump hostports"),
      base("prerouting"),
      base("output"),
    ];
    const own = [chain("hostports", ...rules), chain("masquerading", ...hidden)];
    const input = [`table ${family} cni_hostport {`, ...(isMade ? [] : fixed), ...own, "}", ""].join("\n");
    await node.exec("nft", ["-f", "-"], { input });
  }
}

const ruleset = async () => (await node.exec("nft", ["-s", "list", "ruleset"])).stdout;

for (const [backend, write] of [
  ["iptables", inIptables],
  ["nftables", inNftables],
] as const) {
  test(`${backend}: ports are found as they are led, and taken away without touching the others`, async () => {
    await write(two);
    const before = await ruleset();
    await write(one);
    for (const { owner, ports } of [one, two]) expect(hasReferencePorts(ns, owner, ports)).toBe(true);
    const [mapping] = one.ports.mappings;
    for (const wrong of [
      { hostPort: 81 },
      { containerPort: 81 },
      { protocol: "sctp" },
      { hostIp: "192.0.2.9" },
    ] as const)
      expect(hasReferencePorts(ns, one.owner, { ...one.ports, mappings: [{ ...mapping!, ...wrong }] })).toBe(false);
    expect(hasReferencePorts(ns, one.owner, { ...one.ports, addresses: two.ports.addresses })).toBe(false);
    expect(hasReferencePorts(ns, two.owner, one.ports)).toBe(false);
    const ended = removeReferencePorts(ns, one.owner, one.ports.addresses);
    expect(ended).toContainEqual({ protocol: 17, hostPort: 8080, ip: "10.1.0.2", port: 53 });
    expect(ended).toContainEqual({ protocol: 6, hostIp: "192.0.2.1", hostPort: 8081, ip: "10.1.0.2", port: 81 });
    expect(ended).toHaveLength(6);
    expect(await ruleset()).toBe(before);
    expect(hasReferencePorts(ns, one.owner, one.ports)).toBe(false);
    expect(removeReferencePorts(ns, one.owner)).toEqual([]);
    expect(await ruleset()).toBe(before);
  });

  test(`${backend}: without addresses everything of the container goes, with others' nothing`, async () => {
    await write(two);
    const before = await ruleset();
    await write(one);
    const full = await ruleset();
    expect(removeReferencePorts(ns, one.owner, two.ports.addresses)).toEqual([]);
    expect(await ruleset()).toBe(full);
    expect(removeReferencePorts(ns, one.owner)).toHaveLength(6);
    expect(await ruleset()).toBe(before);
  });
}

test("iptables: GC takes away the network's dead, and nobody else's; nftables does not say the network", async () => {
  await inIptables(two, other);
  const before = await ruleset();
  await inIptables(one);
  sweepReferencePorts(ns, "net", [two.owner]);
  expect(await ruleset()).toBe(before);
  await inNftables(one);
  const native = await ruleset();
  sweepReferencePorts(ns, "net", [two.owner]);
  expect(await ruleset()).toBe(native);
});

test("ports that no packet gets to are not there", async () => {
  await inIptables(one);
  await node.exec("iptables-nft", ["-t", "nat", "-F", "PREROUTING"]);
  expect(hasReferencePorts(ns, one.owner, one.ports)).toBe(false);
  await inNftables(one);
  expect(hasReferencePorts(ns, one.owner, one.ports)).toBe(true);
  await node.exec("nft", ["flush", "chain", "ip", "cni_hostport", "hostports_all"]);
  expect(hasReferencePorts(ns, one.owner, one.ports)).toBe(false);
});

test("where there is nothing, nothing is made", async () => {
  expect(removeReferencePorts(ns, one.owner, one.ports.addresses)).toEqual([]);
  sweepReferencePorts(ns, "net", []);
  expect(hasReferencePorts(ns, one.owner, one.ports)).toBe(false);
  expect(await ruleset()).toBe("");
});
