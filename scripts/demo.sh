#!/bin/bash
# Two pods on a host of their own, and one on a second host, all in throw-away namespaces: attach, ping, look, detach, and
# nothing is left.
set -euo pipefail
bin=${TENON_BIN:-$(cd "$(dirname "$0")/.." && pwd)/build/bin}

if [ "${1:-}" != inside ]; then
	[ "$(id -u)" = 0 ] || { echo "Cannot make network namespaces: run as root" >&2; exit 1; }
	TENON_BIN=$bin exec unshare --net --mount --propagation private "$0" inside
fi

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
# Private state: nothing of the machine's own /run and /var/lib/cni is touched, and all ends with this process.
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/state
ip link set lo up
# The world outside of the host: what its default route leads to, and what the second host is beside.
ip netns add outside
ip -n outside link add lan type bridge
ip -n outside addr add 192.0.2.254/24 dev lan
ip -n outside link set lan up
ip link add uplink type veth peer name port1 netns outside
ip -n outside link set port1 master lan up
ip addr add 192.0.2.1/24 dev uplink
ip link set uplink up
ip route add default via 192.0.2.254
ip netns add pod1
ip netns add pod2

config=$(
	cat <<'JSON'
{ "cniVersion": "1.1.0", "name": "demo", "type": "bridge", "bridge": "cni0",
  "isGateway": true, "ipMasq": true,
  "ipam": { "type": "host-local", "dataDir": "/run/state",
            "ranges": [ [ { "subnet": "10.22.0.0/16" } ], [ { "subnet": "fd00:22::/64" } ] ],
            "routes": [ { "dst": "0.0.0.0/0" }, { "dst": "::/0" } ] } }
JSON
)
run() { # run VERB POD, or - for none
	printf '%s' "$config" | CNI_COMMAND=$1 CNI_CONTAINERID=demo-$2 CNI_NETNS=/run/netns/$2 CNI_IFNAME=eth0 CNI_PATH=$bin "$bin/bridge"
}

say "The configuration"
echo "$config"
say "ADD pod1: what the plugin answers"
result=$(run ADD pod1)
echo "$result"
say "ADD pod2"
run ADD pod2 | grep '"address"'
say "pod1 to pod2, by IPv4 and IPv6"
ip netns exec pod1 ping -c 2 -i 0.2 -W 2 10.22.0.3 | tail -n 3
ip netns exec pod1 ping -c 2 -i 0.2 -W 2 fd00:22::3 | tail -n 3
say "host to pod1, and pod1 to the outside, hidden behind the host's address"
ping -c 1 -W 2 10.22.0.2 | tail -n 2
ip netns exec pod1 ping -c 1 -W 2 192.0.2.254 | tail -n 2
say "CHECK pod1, with the result of its ADD"
config="${config%\}}, \"prevResult\": $result }" run CHECK pod1 && echo "as it was made"
say "The state on the host: links, reservations, masquerade"
ip -br link show master cni0
for file in /run/state/demo/*; do echo "$file: $(tr '\r\n' '  ' <"$file")"; done
nft list ruleset
say "A second host, with pods of its own in 10.23.0.0/16"
ip -n outside link add port2 type veth peer name uplink2
ip -n outside link set port2 master lan up
unshare --net --mount --propagation private sleep 60 &
second=$!
trap 'kill $second 2>/dev/null || true' EXIT
until [ "$(readlink /proc/$second/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
ip -n outside link set uplink2 netns $second name uplink
on2() { nsenter --target $second --net --mount "$@"; }
on2 bash -c 'mount -t tmpfs tmpfs /run; mkdir -p /run/netns /run/state; ip link set lo up
	ip addr add 192.0.2.2/24 dev uplink; ip link set uplink up; ip route add default via 192.0.2.254; ip netns add pod3'
# What each host knows of both: `tenon agent` would write it.
peers() { # peers SELF
	cat <<JSON
{ "version": 1, "network": "demo", "self": "$1", "nodes": [
  { "name": "one", "subnets": ["10.22.0.0/16", "fd00:22::/64"], "addresses": ["192.0.2.1"] },
  { "name": "two", "subnets": ["10.23.0.0/16", "fd00:23::/64"], "addresses": ["192.0.2.2"] } ] }
JSON
}
mkdir -p /run/tenon/peers
peers one >/run/tenon/peers/demo.json
peers two | on2 bash -c 'mkdir -p /run/tenon/peers; cat >/run/tenon/peers/demo.json'
peers one
tunnel='{ "cniVersion": "1.1.0", "name": "demo", "type": "vxlan"'
leads() { # leads POD RESULT: the second plugin of the list, with what the first one said
	printf '%s' "$tunnel, \"prevResult\": $2 }" | CNI_COMMAND=ADD CNI_CONTAINERID=demo-$1 CNI_NETNS=/run/netns/$1 CNI_IFNAME=eth0 CNI_PATH=$bin "$bin/vxlan"
}
say "ADD by vxlan on the first host: pods' MTU goes down to what the tunnel leaves"
leads pod1 "$result" | grep '"mtu"'
say "ADD pod3 on the second host, by bridge and vxlan"
export bin tunnel
export -f run leads
second_config=${config//:22::/:23::}
config=${second_config//10.22./10.23.} on2 bash -euc 'leads pod3 "$(run ADD pod3)" | grep address'
say "pod1 to pod3 and to the second host, by their own addresses"
ip netns exec pod1 ping -c 2 -i 0.2 -W 2 10.23.0.2 | tail -n 3
ip netns exec pod1 ping -c 2 -i 0.2 -W 2 fd00:23::2 | tail -n 3
ip netns exec pod1 ping -c 1 -W 2 192.0.2.2 | tail -n 2
say "Who pod3 is pinged by: pod1, by no other name, although pods hide from the outside"
on2 ip netns exec pod3 timeout 5 tcpdump -Z root -c 1 -l -n -i eth0 icmp 2>/dev/null &
sleep 0.5
ip netns exec pod1 ping -c 3 -i 0.2 -W 2 10.23.0.2 >/dev/null
wait $!
say "What leads there: one route, one neighbour, one forwarding entry for each family and host"
ip -d -br link show tenon.1
ip route show proto 116; ip -6 route show proto 116
ip neigh show dev tenon.1 nud permanent; bridge fdb show dev tenon.1
say "DEL both pods, one of them twice"
run DEL pod1; run DEL pod2; run DEL pod2
say "GC with nobody alive: the network's masquerade goes too"
config="${config%\}}, \"cni.dev/valid-attachments\": [] }" run GC -
say "What is left: an empty bridge, the pointers that say which address comes next, and the way to the other host"
ip -br link show type veth | grep -v uplink || echo "no veth"
ip -br link show type bridge
ls /run/state/demo
[ -n "$(nft list ruleset)" ] && nft list ruleset || echo "no nftables table"
