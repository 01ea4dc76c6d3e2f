#!/bin/sh
# Installs the executables: install.sh [--remove] FROM TO
# The image is written beside its place, synced and renamed, so that a running one is never half replaced; then a link
# for each plugin is made the same way. Relative symbolic links where the file system has no hard ones.
set -eu
remove=""
[ "${1:-}" = --remove ] && remove=1 && shift
from=$1
to=$2
plugins=$(cd "$from" && ls | grep -vx tenon-cni)
if [ -n "$remove" ]; then
	for plugin in $plugins tenon-cni; do
		# Another suite's plugin of that name stays.
		if [ -e "$to/$plugin" ] && cmp -s "$to/$plugin" "$from/tenon-cni"; then rm -f "$to/$plugin"; fi
	done
	exit 0
fi
mkdir -p "$to"
# In one stroke: a file that grew in pieces lies in the page cache in pieces, and starts slower.
dd if="$from/tenon-cni" of="$to/.tenon-cni.$$" bs=128M iflag=fullblock status=none
chmod 755 "$to/.tenon-cni.$$"
sync "$to/.tenon-cni.$$"
mv -f "$to/.tenon-cni.$$" "$to/tenon-cni"
for plugin in $plugins; do
	# A new name first: renaming onto another link of the same file would do nothing and leave both names.
	rm -f "$to/.$plugin.$$"
	ln "$to/tenon-cni" "$to/.$plugin.$$" 2>/dev/null || ln -s tenon-cni "$to/.$plugin.$$"
	mv -f "$to/.$plugin.$$" "$to/$plugin"
	rm -f "$to/.$plugin.$$"
done
echo "installed $(echo $plugins | wc -w) plugins in $to"
