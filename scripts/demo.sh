#!/bin/bash
# Two pods on a host of their own, all in throw-away namespaces: attach, ping, look, detach, and nothing is left.
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
# The world outside of the host: what its default route leads to.
ip netns add outside
ip link add uplink type veth peer name eth0 netns outside
ip addr add 192.0.2.1/24 dev uplink
ip link set uplink up
ip route add default via 192.0.2.254
ip -n outside addr add 192.0.2.254/24 dev eth0
ip -n outside link set eth0 up
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
say "DEL both pods, one of them twice"
run DEL pod1; run DEL pod2; run DEL pod2
say "GC with nobody alive: the network's masquerade goes too"
config="${config%\}}, \"cni.dev/valid-attachments\": [] }" run GC -
say "What is left: an empty bridge, and the pointers that say which address comes next"
ip -br link show type veth | grep -v uplink || echo "no veth"
ip -br link show type bridge
ls /run/state/demo
[ -n "$(nft list ruleset)" ] && nft list ruleset || echo "no nftables table"
