#!/usr/bin/env bash
# build.sh CONTEXT: build ldkd and ldk-cli into CONTEXT/root.
set -euo pipefail
cd "$(dirname "$0")"
. ./target-dir.sh
out=$1/root/usr/local/bin
mkdir -p "$out"
nice cargo build --release --locked --bins
cp "$CARGO_TARGET_DIR"/release/{ldkd,ldk-cli} "$out/"
