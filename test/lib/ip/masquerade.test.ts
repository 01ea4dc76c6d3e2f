// Each test in a node of its own, read back with nft; packets go from pods through the node to "outside", which notes
// whom it hears from.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { CniError, codes } from "../../../lib/cni/errors.ts";
import { labelOf } from "../../../lib/cni/identity.ts";
import {
  checkMasquerade,
  ensureMasquerade,
  type Masquerade,
  removeMasquerade,
  sweepMasquerade,
} from "../../../lib/ip/masquerade.ts";
import { type Namespace, openNamespace } from "../../../lib/netns/netns.ts";
import { makeNode, type Netns, type Node, uplink } from "../../helpers/node.ts";
import type { Step } from "../../helpers/rules-process.ts";

let node: Node;
let ns: Namespace;

async function open(options: { uplink?: boolean } = {}): Promise<void> {
  node = await makeNode("masq", options);
  ns = openNamespace(node.path("/proc/1/ns/net"));
}

afterEach(async () => {
  ns.close();
  await node.close();
});

const pod = (last: number, network = "podnet"): Masquerade => ({
  network,
  label: labelOf(network, `container${last}`, "eth0"),
  addresses: [`10.1.0.${last}/16`, `fd00:1::${last.toString(16)}/64`],
  exempt: ["10.0.0.0/8", "fd00::/16"],
});

/** The node's ruleset as nft tells it, handles left out. */
interface Ruleset {
  tables: string[];
  chains: string[];
  rules: string[];
  /** Set name: its elements, with their comments. */
  sets: Record<string, string[]>;
}

async function ruleset(): Promise<Ruleset> {
  const { stdout } = await node.exec("nft", ["-j", "list", "ruleset"]);
  const all: any[] = JSON.parse(stdout).nftables;
  const text = (value: any): string =>
    typeof value === "string"
      ? value
      : value.prefix
        ? `${value.prefix.addr}/${value.prefix.len}`
        : JSON.stringify(value);
  return {
    tables: all.flatMap(({ table }) => (table ? `${table.family} ${table.name}` : [])),
    chains: all.flatMap(({ chain }) => (chain ? `${chain.name} ${chain.hook} ${chain.prio}` : [])),
    rules: all.flatMap(({ rule }) => rule?.comment ?? []),
    sets: Object.fromEntries(
      all.flatMap(({ set }) =>
        set
          ? [
              [
                set.name,
                (set.elem ?? [])
                  .map(({ elem, ...rest }: any) => (elem ? `${text(elem.val)} ${elem.comment}` : text(rest)))
                  .sort(),
              ],
            ]
          : [],
      ),
    ),
  };
}

const members = (all: Ruleset) => Object.entries(all.sets).filter(([name]) => name.startsWith("masq/"));

test("the first pod of a network takes along what networks without pods left, and nothing of those with pods", async () => {
  await open();
  for (const network of ["idle", "busy"]) ensureMasquerade(ns, pod(2, network));
  removeMasquerade(ns, pod(2, "idle"));
  const left = await ruleset();
  expect(left.rules.some((place) => place.startsWith("idle/"))).toBe(true);
  ensureMasquerade(ns, pod(3, "fresh"));
  const after = await ruleset();
  expect(Object.keys(after.sets).filter((name) => /^(masq|exempt)\/idle\//.test(name))).toEqual([]);
  expect(after.rules.map((place) => place.split("/")[0]).sort()).toEqual(["busy", "busy", "fresh", "fresh"]);
  checkMasquerade(ns, pod(2, "busy"));
  checkMasquerade(ns, pod(3, "fresh"));
});

describe("the state", () => {
  beforeEach(() => open());

  test("ensure makes one table, chain, and for each family two sets and a rule", async () => {
    ensureMasquerade(ns, pod(2));
    ensureMasquerade(ns, pod(3));
    const { tables, chains, rules, sets } = await ruleset();
    expect(tables).toEqual(["inet tenon"]);
    expect(chains).toEqual(["postrouting postrouting 100"]);
    expect(rules).toEqual(["podnet/10.1.0.0/16", "podnet/fd00_1__/64"]);
    expect(Object.values(sets).sort()).toEqual([
      ["10.0.0.0/8", "224.0.0.0/4"],
      ["10.1.0.2 podnet/container2/eth0", "10.1.0.3 podnet/container3/eth0"],
      ["fd00:1::2 podnet/container2/eth0", "fd00:1::3 podnet/container3/eth0"],
      ["fd00::/16", "ff00::/8"],
    ]);
    const { stdout } = await node.exec("nft", ["list", "chain", "inet", "tenon", "postrouting"]);
    expect(stdout).toMatch(
      /^\s*ip saddr @masq\/podnet\/10\.1\.0\.0\/16 ip daddr != @exempt\/podnet\/10\.1\.0\.0\/16\/\w+ masquerade comment/m,
    );
  });

  test("what nft lists, nft loads again", async () => {
    ensureMasquerade(ns, pod(2));
    const { stdout } = await node.exec("nft", ["list", "ruleset"]);
    await node.exec("nft", ["flush", "ruleset"]);
    await node.exec("nft", ["-f", "-"], { input: stdout });
    checkMasquerade(ns, pod(2));
    expect((await node.exec("nft", ["list", "ruleset"])).stdout).toBe(stdout);
  });

  test("ensure twice is once", async () => {
    ensureMasquerade(ns, pod(2));
    const before = await ruleset();
    ensureMasquerade(ns, pod(2));
    expect(await ruleset()).toEqual(before);
  });

  test("an element that another attachment left is taken over, comment and all", async () => {
    ensureMasquerade(ns, { ...pod(2), label: "podnet/gone/eth0" });
    ensureMasquerade(ns, pod(2));
    expect(members(await ruleset()).flatMap(([, elements]) => elements)).toEqual([
      "10.1.0.2 podnet/container2/eth0",
      "fd00:1::2 podnet/container2/eth0",
    ]);
  });

  test("other exemptions apply to all pods of the network at the next ADD, and the rule stays one", async () => {
    ensureMasquerade(ns, pod(2));
    ensureMasquerade(ns, { ...pod(3), exempt: ["192.168.0.0/16", "10.1.2.0/24", "fd00::/16"] });
    const { rules, sets } = await ruleset();
    expect(rules).toEqual(["podnet/10.1.0.0/16", "podnet/fd00_1__/64"]);
    expect(Object.entries(sets).flatMap(([name, some]) => (name.startsWith("exempt/podnet/10") ? [some] : []))).toEqual(
      [["10.1.0.0/16", "192.168.0.0/16", "224.0.0.0/4"]],
    );
    expect(sets["masq/podnet/10.1.0.0/16"]).toHaveLength(2);
  });

  test("the same exemptions in another order and spelling change nothing", async () => {
    ensureMasquerade(ns, { ...pod(2), exempt: ["fd00::/16", "10.0.0.0/8", "fd01::/16"] });
    const { sets } = await ruleset();
    ensureMasquerade(ns, { ...pod(3), exempt: ["FD01:0::/16", "10.0.0.0/8", "fd00::/16"] });
    expect(Object.keys((await ruleset()).sets)).toEqual(Object.keys(sets));
  });

  test("networks and subnets have rules of their own; addresses without a subnet share one", async () => {
    ensureMasquerade(ns, pod(2));
    ensureMasquerade(ns, { ...pod(2, "other"), addresses: ["10.1.0.2/16", "10.2.0.2/16"] });
    ensureMasquerade(ns, { ...pod(4, "alone"), addresses: ["10.3.0.4/32", "fd00:3::4/128"], exempt: [] });
    ensureMasquerade(ns, { ...pod(5, "alone"), addresses: ["10.3.0.5/32"], exempt: [] });
    const { rules, sets } = await ruleset();
    expect(rules).toEqual([
      "podnet/10.1.0.0/16",
      "podnet/fd00_1__/64",
      "other/10.1.0.0/16",
      "other/10.2.0.0/16",
      "alone/hosts4",
      "alone/hosts6",
    ]);
    expect(sets["masq/alone/hosts4"]).toHaveLength(2);
    expect(Object.values(sets)).toContainEqual(["224.0.0.0/4"]);
  });

  test("a network name of any length makes names that nft takes", async () => {
    const long = { ...pod(2, "n".repeat(200)) };
    ensureMasquerade(ns, long);
    checkMasquerade(ns, long);
    const [name] = Object.keys((await ruleset()).sets);
    expect(name!.length).toBeLessThan(100);
    await node.exec("nft", ["list", "set", "inet", "tenon", name!]);
    removeMasquerade(ns, { network: long.network, label: long.label });
    expect(members(await ruleset()).flatMap(([, elements]) => elements)).toEqual([]);
  });

  test("remove takes the attachment's elements, and leaves sets and rule to others", async () => {
    ensureMasquerade(ns, pod(2));
    ensureMasquerade(ns, pod(3));
    for (let time = 0; time < 2; time++) {
      removeMasquerade(ns, pod(2));
      const all = await ruleset();
      expect(members(all).flatMap(([, some]) => some)).toEqual([
        "10.1.0.3 podnet/container3/eth0",
        "fd00:1::3 podnet/container3/eth0",
      ]);
      expect(all.rules).toHaveLength(2);
    }
  });

  test("remove without addresses finds what bears the label, in this network alone", async () => {
    ensureMasquerade(ns, pod(2));
    ensureMasquerade(ns, pod(3));
    ensureMasquerade(ns, pod(2, "other"));
    removeMasquerade(ns, { network: "podnet", label: pod(2).label });
    expect(members(await ruleset()).map(([name, some]) => `${name} ${some.length}`)).toEqual([
      "masq/podnet/10.1.0.0/16 1",
      "masq/podnet/fd00_1__/64 1",
      "masq/other/10.1.0.0/16 1",
      "masq/other/fd00_1__/64 1",
    ]);
  });

  test("remove leaves an address that another attachment has by now", async () => {
    ensureMasquerade(ns, pod(2));
    ensureMasquerade(ns, { ...pod(2), label: "podnet/new/eth0" });
    removeMasquerade(ns, pod(2));
    checkMasquerade(ns, { ...pod(2), label: "podnet/new/eth0" });
  });

  test("remove, check and sweep where nothing was ever masqueraded make nothing", async () => {
    removeMasquerade(ns, pod(2));
    removeMasquerade(ns, { network: "podnet", label: pod(2).label });
    sweepMasquerade(ns, { network: "podnet", keep: new Set() });
    expect(() => checkMasquerade(ns, pod(2))).toThrow(CniError);
    expect((await ruleset()).tables).toEqual([]);
  });

  test("after `nft flush ruleset` ensure makes everything again", async () => {
    ensureMasquerade(ns, pod(2));
    await node.exec("nft", ["flush", "ruleset"]);
    ensureMasquerade(ns, pod(3));
    checkMasquerade(ns, pod(3));
  });

  test("check passes after ensure, and names what is missing after it was taken away", async () => {
    const complaint = () => {
      try {
        checkMasquerade(ns, pod(2));
      } catch (error) {
        expect((error as CniError).code).toBe(codes.checkFailed);
        return (error as Error).message;
      }
      return "";
    };
    ensureMasquerade(ns, pod(2));
    expect(complaint()).toBe("");
    const nft = (...words: string[]) => node.exec("nft", words);
    await nft("delete", "element", "inet", "tenon", "masq/podnet/10.1.0.0/16", "{ 10.1.0.2 }");
    expect(complaint()).toContain("element 10.1.0.2");
    ensureMasquerade(ns, pod(2));
    await nft("flush", "chain", "inet", "tenon", "postrouting");
    expect(complaint()).toContain("rule of podnet/10.1.0.0/16");
    await nft("flush", "ruleset");
    ensureMasquerade(ns, { ...pod(2), exempt: [] });
    expect(complaint()).toContain("exemptions of podnet/10.1.0.0/16");
    await nft("flush", "ruleset");
    expect(complaint()).toContain("element 10.1.0.2");
  });

  test("sweep removes what is not kept, in its own network", async () => {
    for (const last of [2, 3, 4]) ensureMasquerade(ns, pod(last));
    ensureMasquerade(ns, pod(5, "other"));
    sweepMasquerade(ns, { network: "podnet", keep: new Set([pod(3).label]) });
    const all = await ruleset();
    expect(all.sets["masq/podnet/10.1.0.0/16"]).toEqual(["10.1.0.3 podnet/container3/eth0"]);
    expect(all.sets["masq/other/10.1.0.0/16"]).toEqual(["10.1.0.5 other/container5/eth0"]);
    expect(all.rules).toHaveLength(4);
  });

  test("with a network's last pod sweep removes its sets and rules, with the last network the table", async () => {
    ensureMasquerade(ns, pod(2));
    ensureMasquerade(ns, { ...pod(5, "other"), addresses: ["10.2.0.5/16"] });
    sweepMasquerade(ns, { network: "podnet", keep: new Set() });
    const all = await ruleset();
    expect(all.rules).toEqual(["other/10.2.0.0/16"]);
    expect(Object.keys(all.sets)).toHaveLength(2);
    removeMasquerade(ns, { ...pod(5, "other"), addresses: ["10.2.0.5/16"] });
    sweepMasquerade(ns, { network: "other", keep: new Set() });
    expect((await ruleset()).tables).toEqual([]);
  });

  test("sweep leaves the table if something else is in it", async () => {
    ensureMasquerade(ns, pod(2));
    await node.exec("nft", ["add", "chain", "inet", "tenon", "forward"]);
    sweepMasquerade(ns, { network: "podnet", keep: new Set() });
    const { tables, rules, sets } = await ruleset();
    expect({ tables, rules, sets }).toEqual({ tables: ["inet tenon"], rules: [], sets: {} });
    ensureMasquerade(ns, pod(2));
    checkMasquerade(ns, pod(2));
  });

  test.each([
    ["10.1.0.2", []],
    ["eth0", []],
    ["10.1.0.2/16", ["10.0.0.0"]],
  ])("an address %p with exemptions %p is refused before anything is sent", async (address, exempt) => {
    expect(() => ensureMasquerade(ns, { ...pod(2), addresses: [address], exempt })).toThrow(TypeError);
    expect((await ruleset()).tables).toEqual([]);
  });
});

describe("several processes", () => {
  beforeEach(() => open());

  /** Starts the processes, lets them go at once, each so many times, and returns what they complained of. */
  async function race(plans: Step[][], times = 1): Promise<string[]> {
    const go = join(node.dir, "go");
    const script = join(import.meta.dir, "../../helpers/rules-process.ts");
    const running = plans.map((steps) =>
      node.exec(process.execPath, [script, JSON.stringify(steps), go, `${times}`], { timeout: 60_000, reject: false }),
    );
    await Bun.sleep(1000);
    writeFileSync(go, "");
    const ended = await Promise.all(running);
    return ended.filter(({ exitCode }) => exitCode !== 0).map(({ stdout, stderr }) => stdout + stderr);
  }

  test("50 that begin from nothing make one rule for each subnet, and every element", async () => {
    const pods = Array.from({ length: 50 }, (_, at) => pod(at + 2));
    expect(await race(pods.map((one): Step[] => [["ensureMasquerade", one]]))).toEqual([]);
    const all = await ruleset();
    expect(all.rules).toEqual(["podnet/10.1.0.0/16", "podnet/fd00_1__/64"]);
    expect(members(all).map(([, elements]) => elements.length)).toEqual([50, 50]);
    for (const one of pods) checkMasquerade(ns, one);
  });

  test("pods come and go while GC takes away what is empty and another config changes the exemptions", async () => {
    const rounds = process.env.TENON_SOAK === "1" ? 400 : 40;
    const round = (one: Masquerade): Step[] => [
      ["ensureMasquerade", one],
      ["checkMasquerade", one],
      ["removeMasquerade", one],
    ];
    const pods = [2, 3, 4].map((last) => pod(last));
    const other: Masquerade = { ...pod(9, "moving"), addresses: ["10.1.0.9/16"] };
    const changing: Step[] = ["10.0.0.0/8", "172.16.0.0/12"].map((one) => [
      "ensureMasquerade",
      { ...other, exempt: [one] },
    ]);
    const sweep: Step = ["sweepMasquerade", { network: "podnet", keep: pods.map(({ label }) => label) }];
    expect(await race([...pods.map(round), [sweep], changing], rounds)).toEqual([]);
    const { rules } = await ruleset();
    expect(rules.filter((comment) => comment.startsWith("moving/"))).toEqual(["moving/10.1.0.0/16"]);
  });
});

describe("packets", () => {
  beforeEach(async () => {
    await open({ uplink: true });
    await node.exec("bash", ["-ec", bridged]);
    await node.outside!.exec("bash", ["-ec", listening]);
  });

  // The pods' subnet is wider for the masquerade than on their link: what is beyond the link is behind the uplink.
  const bridged = `
    sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    ip link add br0 type bridge
    ip link set br0 up
    ip addr add 10.1.0.1/24 dev br0
    ip addr add fd00:1::1/64 dev br0 nodad
    for pod in a b; do
      ip netns add $pod
      ip link add v$pod type veth peer name eth0 netns $pod
      ip link set v$pod master br0 up
      ip -n $pod link set eth0 up
    done
    ip -n a addr add 10.1.0.2/24 dev eth0
    ip -n b addr add 10.1.0.3/24 dev eth0
    ip -n a addr add fd00:1::2/64 dev eth0 nodad
    ip -n b addr add fd00:1::3/64 dev eth0 nodad
    for pod in a b; do
      ip -n $pod route add default via 10.1.0.1
      ip -n $pod route add default via fd00:1::1
    done
    for port in va vb; do
      for try in $(seq 150); do [ "$(cat /sys/class/net/$port/operstate)" = up ] && break; sleep 0.02; done
    done
    # For a pod's own packets the node cannot ask for its neighbour before its link-local address is tested.
    ping -q -c1 -W2 ${uplink.outside[1]} > /dev/null
  `;

  // Routes back to the pods, so that an answer arrives whatever the source; and other networks behind it.
  const listening = `
    ip route add 10.1.0.0/16 via ${uplink.node[0]}
    ip route add fd00:1::/64 via ${uplink.node[1]}
    for address in 10.1.9.9/32 10.9.0.1/32 198.51.100.1/32; do ip addr add $address dev lo; done
    for address in fd00:1:0:1::9/128 fd00:9::1/128 2001:db8:9::1/128; do ip addr add $address dev lo nodad; done
    nft -f - <<.
    table inet seen {
      set four { type ipv4_addr . ipv4_addr; flags dynamic; size 100; }
      set six { type ipv6_addr . ipv6_addr; flags dynamic; size 100; }
      chain input {
        type filter hook input priority 0;
        icmp type echo-request add @four { ip saddr . ip daddr }
        icmpv6 type echo-request add @six { ip6 saddr . ip6 daddr }
      }
    }
.
  `;

  async function seen(): Promise<string[]> {
    const { stdout } = await node.outside!.exec("nft", ["-j", "list", "table", "inet", "seen"]);
    const all: any[] = JSON.parse(stdout).nftables;
    return all.flatMap(({ set }) => (set?.elem ?? []).map((elem: any) => elem.concat.join(" -> "))).sort();
  }

  /** The first packets of a new link may be lost, so it is more than one if need be. */
  async function ping(from: Netns["exec"], ...addresses: string[]): Promise<void> {
    const tries = "for try in 1 2 3 4 5 6; do ping -c1 -W1 $0 && exit; done; exit 1";
    for (const address of addresses) await from("sh", ["-c", tries, address]);
  }

  const masquerade: Masquerade = {
    network: "podnet",
    label: "podnet/a/eth0",
    addresses: ["10.1.0.2/16", "fd00:1::2/48"],
    exempt: ["10.9.0.0/16", "fd00:9::/64"],
  };

  test("a pod is masqueraded to the outside, but not to its subnet, exempt networks or other pods", async () => {
    const [a, b] = ["a", "b"].map((name) => node.execAt(`/run/netns/${name}`));
    ensureMasquerade(ns, masquerade);
    await ping(a!, "198.51.100.1", "10.1.9.9", "10.9.0.1", "2001:db8:9::1", "fd00:1:0:1::9", "fd00:9::1");
    await ping(b!, "198.51.100.1", "2001:db8:9::1"); // not masqueraded at all
    await ping(a!, "10.1.0.3", "fd00:1::3");
    expect(await seen()).toEqual(
      [
        `${uplink.node[0]} -> 198.51.100.1`,
        `${uplink.node[1]} -> 2001:db8:9::1`,
        "10.1.0.2 -> 10.1.9.9",
        "10.1.0.2 -> 10.9.0.1",
        "10.1.0.3 -> 198.51.100.1",
        "fd00:1::2 -> fd00:1:0:1::9",
        "fd00:1::2 -> fd00:9::1",
        "fd00:1::3 -> 2001:db8:9::1",
      ].sort(),
    );
  });

  test("after remove a pod is no longer masqueraded", async () => {
    ensureMasquerade(ns, masquerade);
    removeMasquerade(ns, masquerade);
    await ping(node.execAt("/run/netns/a"), "198.51.100.1", "2001:db8:9::1");
    expect(await seen()).toEqual(["10.1.0.2 -> 198.51.100.1", "fd00:1::2 -> 2001:db8:9::1"].sort());
  });

  test("a destination that becomes exempt is so for the pods that are there", async () => {
    ensureMasquerade(ns, masquerade);
    const later = { ...masquerade, label: "podnet/b/eth0", addresses: ["10.1.0.3/16", "fd00:1::3/48"] };
    ensureMasquerade(ns, { ...later, exempt: ["198.51.100.0/24"] });
    await ping(node.execAt("/run/netns/a"), "198.51.100.1", "10.9.0.1");
    expect(await seen()).toEqual(["10.1.0.2 -> 198.51.100.1", `${uplink.node[0]} -> 10.9.0.1`].sort());
  });
});
