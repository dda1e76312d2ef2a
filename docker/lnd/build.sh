#!/usr/bin/env bash
# build.sh CONTEXT: build lnd and lncli into CONTEXT/root, with the sub-servers of the official release.
set -euo pipefail
cd "$(dirname "$0")"
. ./versions.env
go=$(../go.sh)
out=$1/root/usr/local/bin
mkdir -p "$out"
CGO_ENABLED=0 GOOS=linux GOTOOLCHAIN=local "$go" build -v -trimpath -buildvcs=false \
  -tags='signrpc walletrpc chainrpc invoicesrpc peersrpc kvdb_sqlite' \
  -ldflags="-s -w -X github.com/lightningnetwork/lnd/build.Commit=${LND_OFFICIAL#*:}" -o "$out/" tool
