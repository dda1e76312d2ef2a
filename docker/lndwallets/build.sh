#!/usr/bin/env bash
# build.sh CONTEXT: make wallets into CONTEXT/volumes.
set -euo pipefail
cd "$(dirname "$0")"
go=$(../go.sh)
program=$(mktemp)
trap 'rm -f "$program"' EXIT
CGO_ENABLED=0 GOTOOLCHAIN=local "$go" build -v -trimpath -buildvcs=false -o "$program" .
"$program" 128 "$1/volumes"
