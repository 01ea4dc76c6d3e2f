// What is chained, and what leads to other nodes, on the oldest kernel that is supported and on one between it and today's:
// ptp with tuning and firewall, the usual chain, vxlan and then routes among 200 nodes; fused, as a start of a program takes
// long on these machines. Packets pass, CHECK and STATUS agree, and DEL and GC leave nothing of a pod.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import type { Snapshot } from "../../lib/peers/snapshot.ts";
import { fused, told, usual } from "../helpers/chain.ts";
import { ours } from "../helpers/plugin.ts";
import { joinOutside, runStepsInVm, type VmResult } from "../helpers/vm.ts";

// `add POD LIST` and `cni VERB POD LIST` call the plugin `chain`; `pings` tries again, as addresses are tested before their use,
// and `silent` asks all once and at once; `left` lists what there is of pods.
const functions = `
call() { printf %s "$3" | CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/$2 CNI_IFNAME=eth0 CNI_PATH=/cni /cni/chain; }
add() { [ -e /run/netns/$1 ] || ip netns add $1; call ADD $1 "$2" > /run/result.$1 || { cat /run/result.$1; return 1; }; }
cni() { call $1 $2 "{\\"prevResult\\":$(cat /run/result.$2),\${3#?}" && echo "$1 $2"; }
reaches() { ip netns exec $1 ping -c 1 -W 1 $2 > /dev/null 2>&1; }
pings() {
  from=$1; shift
  for to; do
    for try in 1 2 3 4 5 6 7 8; do
      if reaches $from $to; then echo "$from $to"; break; fi
      sleep 0.3
    done
  done
}
silent() { from=$1; shift; { for to; do { reaches $from $to || echo "$from $to none"; } & done; wait; } | sort; }
ask() { echo "$2 $(ip netns exec $1 /peer ask $2 $3 $4)"; }
outside() {
  ${joinOutside}
  ip route add default via 192.0.2.254
  ip route add default via 2001:db8:2::fe
}
entries() {
  echo "routes $(ip -4 route show proto 116 | grep -c via) $(ip -6 route show proto 116 | grep -c via)," \
    "onlink $(ip -4 route show proto 116 | grep -c onlink) $(ip -6 route show proto 116 | grep -c "dev tenon.1")"
  [ -z "$(ip link show type vxlan)" ] || echo "neighbours $(ip -4 neigh show dev tenon.1 nud permanent | wc -l)" \
    "$(ip -6 neigh show dev tenon.1 nud permanent | wc -l), forwarding $(bridge fdb show dev tenon.1 | grep -c "dst 192.0.2.")"
}
left() {
  ip -br link | cut -d " " -f 1 | sed "s/@.*//" | grep -v -e "^lo$" -e "^uplink$" || :
  nft list ruleset 2> /dev/null | grep -e "net/[a-z]*/eth0" -e "10\\.[12]\\.0\\.[2-9]" || :
  find /var/lib/cni/networks /run/cni -type f 2> /dev/null | grep -v -e last_reserved_ip -e "/lock$" || :
}
`;
const setUp = `
mount -t tmpfs run /run
mount -t tmpfs state /var/lib
mkdir -p /run/netns /run/tenon/peers
sysctl -qw net.ipv6.conf.default.accept_dad=0
ip link set lo up
`;

/** A host of its own: network, /run and /var/lib. */
const host = (script: string) => `
cat > /tmp/host << 'END'
${functions}${setUp}${script}
END
unshare --net --mount sh -e /tmp/host 2>&1`;

const network = { cniVersion: "1.1.0", name: "net", "cni.dev/valid-attachments": [] };
const list = (plugins: object[], more = {}) => `'${JSON.stringify({ ...network, type: "chain", plugins, ...more })}'`;
const dual = (four: string, six: string) => ({
  type: "host-local",
  ranges: [[{ subnet: four }], [{ subnet: six }]],
  routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
});

const ptp = { type: "ptp", ipMasq: true, mtu: 1400, ipam: dual("10.1.0.0/24", "fd00:1::/64") };
const sysctl = { "net.core.somaxconn": "500", "net.ipv4.conf.IFNAME.arp_filter": "1" };
const tuning = { type: "tuning", sysctl, mtu: 1300, promisc: true, txQLen: 77, mac: "02:11:22:33:44:55" };
const pair = list([ptp, tuning, { type: "firewall" }]);
const drop = (family: string) =>
  `nft "add table ${family} filter; add chain ${family} filter FORWARD { type filter hook forward priority 0; policy drop; }"`;

const pairs = {
  script: host(`
outside
${drop("ip")}
${drop("ip6")}
add one ${pair}
add two ${list([ptp])}
pings one 10.1.0.1 fd00:1::1 192.0.2.254 2001:db8:2::fe 10.1.0.3 fd00:1::3
silent two 192.0.2.254 2001:db8:2::fe # no firewall, and what FORWARD does not let through is dropped
cni CHECK one ${pair}
cni STATUS one ${pair}
ip netns exec one cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/conf/eth0/arp_filter
for what in PROMISC "mtu [0-9]*" "qlen [0-9]*" "ether 02:11[^ ]*"; do ip -n one link show eth0 | grep -o "$what"; done
cni DEL one ${pair}
ip netns exec one cat /proc/sys/net/core/somaxconn
cni GC two ${pair}
left`),
  output: `one 10.1.0.1
one fd00:1::1
one 192.0.2.254
one 2001:db8:2::fe
one 10.1.0.3
one fd00:1::3
two 192.0.2.254 none
two 2001:db8:2::fe none
CHECK one
STATUS one
500
1
PROMISC
mtu 1300
qlen 77
ether 02:11:22:33:44:55
DEL one
4096
GC two
`,
};

const usually = (port = 8080, change = {}) =>
  list(fused(usual("1.1.0", change)).plugins[0]!.plugins as object[], {
    capabilities: { portMappings: true, bandwidth: true },
    runtimeConfig: told(port),
  });
const apart = list(
  [
    { type: "bridge", bridge: "apart", isDefaultGateway: true, ipam: dual("10.2.0.0/24", "fd00:2::/64") },
    { type: "firewall", ingressPolicy: "isolated" },
  ],
  { name: "apart" },
);

const chain = {
  script: host(`
outside
modprobe br_netfilter
sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1
add one ${usually()}
add two ${usually(9090)}
add far ${apart}
add farther ${apart}
pings one 10.1.0.1 192.0.2.254 2001:db8:2::fe 10.1.0.3 fd00:1::3
pings far 10.2.0.1 fd00:2::1
silent far 10.2.0.3 fd00:2::3 10.1.0.2
silent one 10.2.0.2 fd00:2::2
ip netns exec one /peer serve 80 > /dev/null 2>&1
for address in 192.0.2.1 2001:db8:2::1; do ask outside tcp $address 8080; ask outside udp $address 8080; done
ip netns exec one cat /proc/sys/net/core/somaxconn
cni CHECK one ${usually()}
cni STATUS one ${usually()}
cni DEL one ${usually()}
ask outside udp 192.0.2.1 8080
add three ${usually(7070, { tuning: { sysctl: { "net.core.none": "1" } } })} > /run/refused || grep -o "in plugins.*tuning" /run/refused
nft list ruleset | grep -o "net/[a-z]*/eth0" | sort -u
cni GC two ${usually()}
cni GC far ${apart}
left`),
  output: `one 10.1.0.1
one 192.0.2.254
one 2001:db8:2::fe
one 10.1.0.3
one fd00:1::3
far 10.2.0.1
far fd00:2::1
far 10.1.0.2 none
far 10.2.0.3 none
far fd00:2::3 none
one 10.2.0.2 none
one fd00:2::2 none
tcp 192.0.2.254
udp 192.0.2.254
tcp 2001:db8:2::fe
udp 2001:db8:2::fe
500
CHECK one
STATUS one
DEL one
udp none
in plugins[4], tuning
net/two/eth0
GC two
GC far
cni0
apart
`,
};

const nodes: Snapshot["nodes"] = Array.from({ length: 200 }, (_, at) => ({
  name: `n${at + 1}`,
  subnets: [`10.244.${at + 1}.0/24`, `fd00:${at + 1}::/64`],
  addresses: [`192.0.2.${at + 1}`, `2001:db8:2::${at + 1}`],
}));
/** A node's file of the first nodes, whole at once. */
const tell = (at: number, last: number) => {
  const snapshot = { version: 1, network: "pods", self: `n${at}`, nodes: nodes.slice(0, last) };
  return `cat > /run/tenon/peers/new << 'PEERS'
${JSON.stringify(snapshot)}
PEERS
mv /run/tenon/peers/new /run/tenon/peers/pods.json`;
};
const pods = { name: "pods", "cni.dev/valid-attachments": [{ containerID: "pod", ifname: "eth0" }] };
const across = (at: number) => {
  const ipam = dual(`10.244.${at}.0/24`, `fd00:${at}::/64`);
  const bridge = { type: "bridge", isDefaultGateway: true, ipMasq: true, ipam };
  return list([bridge, { type: "vxlan" }], pods);
};
const on = (at: number, script: string) => `cat > /tmp/on << 'END'
${functions}${script}
END
nsenter -t $(cat /tmp/node.${at}) -n -m sh -e /tmp/on
`;

/** Packets both ways; then the other 198 nodes go. The same nodes and pods serve for the next plugin. */
const crossing = (add: (at: number) => string, last: (at: number) => string) => `
${on(2, `${tell(2, 2)}\n${add(2)}`)}
${on(
  1,
  `${tell(1, 200)}
${add(1)}
cni CHECK pod ${last(1)}
pings pod 10.244.2.2 fd00:2::2 192.0.2.2 2001:db8:2::2
entries`,
)}
${on(
  2,
  `pings pod 10.244.1.2 fd00:1::2 192.0.2.1 2001:db8:2::1
for address in 10.244.1.2 fd00:1::2; do for protocol in tcp udp; do
  ask pod $protocol $address 80
  echo "node $protocol $(/peer ask $protocol $address 80)"
done; done`,
)}
${on(1, `${tell(1, 2)}\ncni GC pod ${last(1)}\ncni STATUS pod ${last(1)}\nentries`)}`;

const crossed = `pod 10.244.1.2
pod fd00:1::2
pod 192.0.2.1
pod 2001:db8:2::1
tcp 10.244.2.2
node tcp 192.0.2.2
udp 10.244.2.2
node udp 192.0.2.2
tcp fd00:2::2
node tcp 2001:db8:2::2
udp fd00:2::2
node udp 2001:db8:2::2
`;
const routes = () => list([{ type: "routes" }], pods);

const nodesStep = {
  script: `{
for at in 1 2; do
  unshare --net --mount sleep 900 > /dev/null 2>&1 &
  echo $! > /tmp/node.$at
  until [ "$(readlink /proc/$!/ns/net)" != "$(readlink /proc/$$/ns/net)" ] && grep -q sleep /proc/$!/comm; do sleep 0.02; done
done
ip link add wire type veth peer name eth0 netns $(cat /tmp/node.2)
ip link set wire netns $(cat /tmp/node.1) name eth0
${[1, 2]
  .map((at) =>
    on(
      at,
      `${setUp}ip addr add 192.0.2.${at}/24 dev eth0; ip addr add 2001:db8:2::${at}/64 dev eth0 nodad
ip link set eth0 up
for router in 192.0.2.${3 - at} 2001:db8:2::${3 - at}; do ip route add default via $router; done`,
    ),
  )
  .join("")}
${crossing((at) => `add pod ${across(at)}\nip netns exec pod /peer serve 80 > /dev/null 2>&1`, across)}
${crossing(() => `cni ADD pod ${routes()} > /dev/null`, routes)}
${on(1, `cni DEL pod ${across(1)}\nleft`)}
kill $(cat /tmp/node.1 /tmp/node.2)
} 2>&1`,
  output: `CHECK pod
pod 10.244.2.2
pod fd00:2::2
pod 192.0.2.2
pod 2001:db8:2::2
routes 199 199, onlink 199 199
neighbours 199 199, forwarding 199
${crossed}GC pod
STATUS pod
routes 1 1, onlink 1 1
neighbours 1 1, forwarding 1
CHECK pod
pod 10.244.2.2
pod fd00:2::2
pod 192.0.2.2
pod 2001:db8:2::2
routes 199 199, onlink 0 0
${crossed}GC pod
STATUS pod
routes 1 1, onlink 0 0
DEL pod
cni0
eth0
`,
};

const sets = { pairs, chain, nodes: nodesStep };
type Step = keyof typeof sets;
const names = Object.keys(sets) as Step[];
const titles: Record<Step, string> = {
  pairs:
    "ptp, tuning and firewall: the pod reaches others through what drops, its settings are changed and changed back",
  chain: "the usual chain in one process: published, masqueraded, kept apart, undone when its end fails",
  nodes: "vxlan, then routes: two nodes and their pods by their own addresses, and 198 nodes that come and go",
};

describe.each(["5.10", "6.1"] as const)("kernel %s", (kernel) => {
  let dir: string;
  let ran: Record<Step, VmResult>;
  beforeAll(async () => {
    if (!existsSync(join(ours, "chain"))) throw new Error(`Cannot find ${ours}/chain: run \`make build\``);
    dir = await mkdtemp(join(tmpdir(), "tenon-peer-"));
    await execa("gcc", ["-O1", "-static", "-o", join(dir, "peer"), join(import.meta.dir, "../helpers/peer.c")]);
    const files = { "/cni": ours, "/peer": join(dir, "peer") };
    const steps = Object.fromEntries(names.map((name) => [name, sets[name].script])) as Record<Step, string>;
    ran = await runStepsInVm({ kernel, steps, files, timeoutSeconds: 240 });
  }, 400_000);
  afterAll(() => rm(dir, { recursive: true, force: true }));

  test.each(names.map((name) => [titles[name], name] as const))("%s", (_, name) => {
    expect(ran[name].output).toBe(sets[name].output);
    expect(ran[name].exitCode).toBe(0);
  });
});
