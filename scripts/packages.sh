#!/bin/sh
# Installs the Debian packages that the tests and the demonstration use, those that are missing only.
set -eu
wanted="iproute2 nftables iptables iputils-ping util-linux procps strace tcpdump busybox-static
        containernetworking-plugins containerd runc podman conmon qemu-system-x86 cpio gcc libc6-dev
        qemu-user libc6-arm64-cross zsh fish ethtool etcd-server openssl iperf3"
missing=""
for package in $wanted; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep "install ok installed" >/dev/null || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ]; then
	echo "Cannot install$missing: run as root, or install them yourself" >&2
	exit 1
fi
echo "installing$missing" >&2
apt-get update -qq >/dev/null
# No service is started: the tests start what they need, with directories of their own.
policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	made=1
fi
status=0
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null || status=$?
[ -z "$made" ] || rm -f $policy
exit $status
