#!/usr/bin/env bash
# build.sh PYTHON: build the image asyncpay:VERSION from the testbed's image of asyncpay, which `make images` builds.
set -euo pipefail
cd "$(dirname "$0")"
read -r made base version < <("$1" - <<'PYTHON'
from importlib.metadata import version
from harness.images import store

made = store.find("asyncpay")
if made is None:
    raise SystemExit("the image for operators cannot be built: the testbed's image of asyncpay is not on the Docker engine. Run `make images` first.")
recipe = next(way for way in store.ways("asyncpay") if way.reference == made)
print(made, recipe.base.reference, version("asyncpay"))
PYTHON
)
said=$(DOCKER_BUILDKIT=0 docker build --quiet --tag "asyncpay:$version" \
  --build-arg MADE="$made" --build-arg BASE="$base" - <Dockerfile 2>&1) ||
  { echo "the image asyncpay:$version cannot be built: $said" >&2; exit 1; }
echo "asyncpay:$version"
