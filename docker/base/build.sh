#!/usr/bin/env bash
# build.sh CONTEXT: make CONTEXT/rootfs.tar, a minimal Debian with all that the images take from Debian.
# It is filled on this machine and not by `docker build`, so containers need no way to a mirror.
set -euo pipefail
cd "$(dirname "$0")"
. ../versions.env
readonly context=$1
# What the nodes' images need at run time. sysusers alone spares bitcoin-knots a whole systemd.
readonly packages=(bitcoin-knots systemd-standalone-sysusers python3)

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "a Debian file system can only be made on Debian or Ubuntu, as root" >&2
  exit 2
fi
if ! command -v debootstrap >/dev/null; then
  echo "installing debootstrap"
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
    debootstrap debian-archive-keyring
fi

rootfs=$(mktemp -d)
trap 'rm -rf "$rootfs"' EXIT
# In a mount namespace of its own, so that an interrupted debootstrap leaves no /proc mounted. The script `sid` is that
# of every suite; an older debootstrap does not know the suite's own name.
unshare --mount debootstrap --variant=minbase --include=ca-certificates "$DEBIAN_SUITE" "$rootfs" \
  "$(../apt-mirror.sh)" sid
DEBIAN_FRONTEND=noninteractive chroot "$rootfs" apt-get install -y --no-install-recommends "${packages[@]}"
chroot "$rootfs" apt-get clean
tar -C "$rootfs" --numeric-owner --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' \
  --exclude='./var/lib/apt/lists/*' -cf "$context/rootfs.tar" .
