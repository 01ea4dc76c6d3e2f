#!/bin/sh
# Installs the executables: install.sh [--remove] FROM TO, for the image and its links
#                           install.sh [--remove] --command FILE TO, for one file alone
# A file is written beside its place, synced and renamed, so that a running one is never half replaced; then a link for each
# plugin is made the same way. Relative symbolic links where the file system has no hard ones.
set -eu
remove=""
command=""
[ "${1:-}" = --remove ] && remove=1 && shift
[ "${1:-}" = --command ] && command=1 && shift
from=$1
to=$2

# put FILE NAME: in the largest pieces that the kernel keeps in memory and maps at once: see lib/sys/page-cache.ts.
put() {
	mkdir -p "$to"
	dd if="$1" of="$to/.$2.$$" bs=2M status=none
	chmod 755 "$to/.$2.$$"
	sync "$to/.$2.$$"
	mv -f "$to/.$2.$$" "$to/$2"
}

if [ -n "$command" ]; then
	name=$(basename "$from")
	if [ -n "$remove" ]; then
		# Somebody else's program of that name stays.
		if [ -e "$to/$name" ] && cmp -s "$to/$name" "$from"; then rm -f "$to/$name"; fi
		exit 0
	fi
	put "$from" "$name"
	echo "installed $name in $to"
	exit 0
fi

plugins=$(cd "$from" && ls | grep -vx tenon-cni)
if [ -n "$remove" ]; then
	for plugin in $plugins tenon-cni; do
		# Another suite's plugin of that name stays.
		if [ -e "$to/$plugin" ] && cmp -s "$to/$plugin" "$from/tenon-cni"; then rm -f "$to/$plugin"; fi
	done
	exit 0
fi
put "$from/tenon-cni" tenon-cni
for plugin in $plugins; do
	# A new name first: renaming onto another link of the same file would do nothing and leave both names.
	rm -f "$to/.$plugin.$$"
	ln "$to/tenon-cni" "$to/.$plugin.$$" 2>/dev/null || ln -s tenon-cni "$to/.$plugin.$$"
	mv -f "$to/.$plugin.$$" "$to/$plugin"
	rm -f "$to/.$plugin.$$"
done
echo "installed $(echo $plugins | wc -w) plugins in $to"
