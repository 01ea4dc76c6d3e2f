// Masquerade and spoof check on the oldest kernel that is supported, and on one between it and today's: the same objects
// as nft lists them, races, and packets that pass, change or are dropped.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import type { Masquerade } from "../../lib/ip/masquerade.ts";
import type { SpoofCheck } from "../../lib/ip/spoof-check.ts";
import type { Step } from "../helpers/rules-process.ts";
import { runStepsInVm, type VmResult } from "../helpers/vm.ts";

const pod = (last: number): Masquerade => ({
  network: "podnet",
  label: `podnet/container${last}/eth0`,
  addresses: [`10.1.0.${last}/24`, `fd00:1::${last}/64`],
  exempt: ["10.9.0.0/16", "fd00:9::/64"],
});
const guard = (last: number): SpoofCheck => ({
  label: `podnet/container${last}/eth0`,
  port: `port${last}`,
  mac: `02:00:00:00:00:0${last}`,
});

const rules = (...steps: Step[]) => `/rules '${JSON.stringify(steps)}'`;
const sweep = { network: "podnet", keep: [] };
const list = "nft -j list ruleset";

/** Pods 2 and 3 on a bridge; behind the node the namespace "outside", with routes back, that counts whom it hears from. */
const network = `
  sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 > /dev/null
  ip link add br0 type bridge
  ip link set br0 up
  ip addr add 10.1.0.1/24 dev br0
  ip addr add fd00:1::1/64 dev br0 nodad
  for last in 2 3; do
    ip netns add pod$last
    ip link add port$last type veth peer name eth0 netns pod$last
    ip -n pod$last link set eth0 address 02:00:00:00:00:0$last
    ip link set port$last master br0 up
    ip -n pod$last addr add 10.1.0.$last/24 dev eth0
    ip -n pod$last addr add fd00:1::$last/64 dev eth0 nodad
    ip -n pod$last link set eth0 up
    ip -n pod$last route add default via 10.1.0.1
    ip -n pod$last route add default via fd00:1::1
  done
  ip netns add outside
  ip link add uplink type veth peer name eth0 netns outside
  ip addr add 192.0.2.1/24 dev uplink
  ip addr add 2001:db8:2::1/64 dev uplink nodad
  ip link set uplink up
  ip -n outside addr add 192.0.2.254/24 dev eth0
  ip -n outside addr add 2001:db8:2::fe/64 dev eth0 nodad
  ip -n outside link set eth0 up
  ip -n outside link set lo up
  ip -n outside addr add 10.9.0.1/32 dev lo
  ip -n outside addr add fd00:9::1/128 dev lo nodad
  ip -n outside route add default via 192.0.2.1
  ip -n outside route add default via 2001:db8:2::1
  ip route add default via 192.0.2.254
  ip route add default via 2001:db8:2::fe
  heard() { echo "$1 saddr $2 $3 type echo-request counter comment \\"$2\\""; }
  ip netns exec outside nft -f - << END
  table inet heard { chain input { type filter hook input priority 0
    $(heard ip 192.0.2.1 icmp)
    $(heard ip 10.1.0.2 icmp)
    $(heard ip6 2001:db8:2::1 icmpv6)
    $(heard ip6 fd00:1::2 icmpv6)
  }
  }
END
  reaches() {
    for try in $(seq $3); do ip netns exec $1 ping -c 1 -W 2 $2 > /dev/null && echo true && return; done
    echo false
  }
`;

const steps = {
  made: `
    ${rules(["ensureMasquerade", pod(2)], ["ensureMasquerade", pod(2)], ["checkMasquerade", pod(2)])}
    ${rules(["ensureSpoofCheck", guard(2)], ["ensureSpoofCheck", guard(2)], ["checkSpoofCheck", guard(2)])}
    ${list}`,
  changed: `
    ${rules(["ensureMasquerade", { ...pod(3), exempt: [] }], ["ensureMasquerade", { ...pod(2), label: "podnet/x/eth0" }])}
    ${rules(["ensureSpoofCheck", { ...guard(2), mac: "02:00:00:00:00:99" }])}
    ${list}`,
  removed: `
    ${rules(["removeMasquerade", pod(2)], ["removeMasquerade", { network: "podnet", label: "podnet/x/eth0" } as Masquerade])}
    ${rules(["removeSpoofCheck", { label: guard(2).label, port: guard(2).port }])}
    ${list}`,
  swept: `
    ${rules(["sweepMasquerade", sweep], ["sweepSpoofCheck", sweep])}
    ${list}`,
  raced: `
    ${[2, 3, 4, 5, 6, 7].map((last) => `${rules(["ensureMasquerade", pod(last)])} /go &`).join("\n")}
    sleep 3
    touch /go
    wait
    ${list}`,
  packets: `
    nft flush ruleset
    ${network}
    ${rules(["ensureMasquerade", pod(2)], ["ensureSpoofCheck", guard(2)])}
    reaches pod2 2001:db8:2::fe 5
    for address in 192.0.2.254 10.9.0.1 fd00:9::1 10.1.0.3 fd00:1::3; do reaches pod2 $address 5; done
    ip -n pod2 link set eth0 address 02:00:00:00:00:77
    reaches pod2 10.1.0.3 1
    ip netns exec outside ${list}`,
};

describe.each(["5.10", "6.1"] as const)("kernel %s", (kernel) => {
  let dir: string;
  let results: Record<keyof typeof steps, VmResult>;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "tenon-rules-"));
    const source = join(import.meta.dir, "../helpers/rules-process.ts");
    const program = join(dir, "rules");
    await execa(process.execPath, ["build", "--compile", "--bytecode", "--format=esm", source, "--outfile", program]);
    results = await runStepsInVm({ kernel, steps, files: { "/rules": program }, timeoutSeconds: 300 });
  }, 400_000);

  afterAll(() => rm(dir, { recursive: true, force: true }));

  /** The last line of a step, as nft wrote it. */
  function listed(step: keyof typeof steps) {
    const { exitCode, output } = results[step];
    expect(`${exitCode} ${exitCode === 0 ? "" : output}`).toBe("0 ");
    const all: any[] = JSON.parse(output.trim().split("\n").at(-1)!).nftables;
    const word = (value: any) => (typeof value === "string" ? value : (value.concat?.join(" ") ?? value.prefix.addr));
    const elements = (set: any) =>
      (set.elem ?? []).map((one: any) => (one.elem ? `${word(one.elem.val)} ${one.elem.comment}` : word(one))).sort();
    return {
      chains: all.flatMap(({ chain }) => (chain ? `${chain.family} ${chain.name} ${chain.type} ${chain.prio}` : [])),
      rules: all.flatMap(({ rule }) => rule?.comment ?? []),
      counts: all.flatMap(({ rule }) => rule?.expr.find((one: any) => one.counter)?.counter.packets ?? []),
      sets: Object.fromEntries(
        all.flatMap(({ set }) => (set ? [[set.name.replace(/(?<=^exempt.*)[0-9a-f]{12}$/, "*"), elements(set)]] : [])),
      ),
    };
  }

  test("has the same tables, and making them twice is making them once", () => {
    expect(listed("made")).toEqual({
      chains: ["inet postrouting nat 100", "bridge prerouting filter -300"],
      rules: ["podnet/10.1.0.0/24", "podnet/fd00_1__/64", "spoof-check"],
      counts: [0],
      sets: {
        "masq/podnet/10.1.0.0/24": ["10.1.0.2 podnet/container2/eth0"],
        "exempt/podnet/10.1.0.0/24/*": ["10.1.0.0", "10.9.0.0", "224.0.0.0"],
        "masq/podnet/fd00_1__/64": ["fd00:1::2 podnet/container2/eth0"],
        "exempt/podnet/fd00_1__/64/*": ["fd00:1::", "fd00:9::", "ff00::"],
        "spoof/ports": ["port2 podnet/container2/eth0"],
        "spoof/macs": ["port2 02:00:00:00:00:02 podnet/container2/eth0"],
      },
    });
  });

  test("replaces exemptions, labels and MAC addresses in place", () => {
    const { rules, sets } = listed("changed");
    expect(rules).toEqual(["podnet/10.1.0.0/24", "podnet/fd00_1__/64", "spoof-check"]);
    expect(sets).toMatchObject({
      "masq/podnet/10.1.0.0/24": ["10.1.0.2 podnet/x/eth0", "10.1.0.3 podnet/container3/eth0"],
      "exempt/podnet/10.1.0.0/24/*": ["10.1.0.0", "10.9.0.0", "224.0.0.0"],
      "spoof/macs": ["port2 02:00:00:00:00:99 podnet/container2/eth0"],
    });
    expect(Object.keys(sets)).toHaveLength(6);
  });

  test("removes what belongs to a label, by address or by looking for it", () => {
    expect(listed("removed").sets).toMatchObject({
      "masq/podnet/10.1.0.0/24": ["10.1.0.3 podnet/container3/eth0"],
      "masq/podnet/fd00_1__/64": ["fd00:1::3 podnet/container3/eth0"],
      "spoof/ports": [],
      "spoof/macs": [],
    });
  });

  test("is left with nothing after sweeping", () => {
    expect(listed("swept")).toEqual({ chains: [], rules: [], counts: [], sets: {} });
  });

  test("gives processes that begin at once from nothing one rule for each subnet", () => {
    const { rules, sets } = listed("raced");
    expect(rules).toEqual(["podnet/10.1.0.0/24", "podnet/fd00_1__/64"]);
    expect(sets["masq/podnet/10.1.0.0/24"]).toHaveLength(6);
    expect(sets["masq/podnet/fd00_1__/64"]).toHaveLength(6);
  });

  test("masquerades packets to the outside alone, and drops forged frames", () => {
    const answers = results.packets.output.split("\n").filter((line) => /^(true|false)$/.test(line));
    expect(answers).toEqual(["true", "true", "true", "true", "true", "true", "false"]);
    const { rules, counts } = listed("packets");
    const heard = Object.fromEntries(
      rules.map((comment: string, at: number): [string, boolean] => [comment, counts[at] > 0]),
    );
    expect(heard).toEqual({ "192.0.2.1": true, "10.1.0.2": true, "2001:db8:2::1": true, "fd00:1::2": true });
  });
});
