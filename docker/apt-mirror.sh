#!/usr/bin/env bash
# apt-mirror.sh [ROOT]: print the Debian mirror that the machine's apt is configured with; nothing if it is not
# Debian. apt itself reads its configuration, so every format is supported: sources.list, .list and .sources files.
set -euo pipefail
root=${1:-/}
. "$root/etc/os-release"
[ "$ID" = debian ] || exit 0

uri=$(apt-get -o Dir="$root" indextargets --no-release-info --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' \
  'Identifier: Packages' | awk -v codename="${VERSION_CODENAME:-sid}" '
    $1 !~ /^cdrom:/ && $3 == "main" && ($2 == codename || $2 ~ /^(oldstable|stable|testing|unstable|sid)$/) {
      print $1
    }')
uri=${uri%%$'\n'*}
case $uri in
  mirror+file:*) # Debian's cloud images keep the address in a separate file
    file=${uri#mirror+file:}
    awk 'NF && $1 !~ /^#/ { print $1; exit }' "$root/${file%/}"
    ;;
  *) echo "$uri" ;;
esac
