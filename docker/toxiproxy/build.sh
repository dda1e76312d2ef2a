#!/usr/bin/env bash
# build.sh CONTEXT: build Toxiproxy's server and cli into CONTEXT.
set -euo pipefail
cd "$(dirname "$0")"
. ../versions.env
go=$(../go.sh)
CGO_ENABLED=0 GOOS=linux GOTOOLCHAIN=local "$go" build -v -trimpath -buildvcs=false \
  -ldflags="-s -w -X github.com/Shopify/toxiproxy/v2.Version=${TOXIPROXY_OFFICIAL#*:}" -o "$1/" tool
