#!/usr/bin/env bash
# build.sh CONTEXT: put into CONTEXT the packages that asyncpay needs, as wheels for the Python of the image $BASE, or
# for the one that is installed there if it has none; and asyncpay itself as it stands in this checkout, with what of
# the testbed runs in its containers.
set -euo pipefail
cd "$(dirname "$0")"
readonly context=$1

in_base() { docker run --rm --network none --entrypoint "$1" "$BASE" "${@:2}"; }
machine=$(in_base uname -m)
version=$(in_base python3 -c 'import platform; print(platform.python_version())') ||
  version=$(sed -n 's/^CLN_OFFICIAL_PYTHON=//p' ../versions.env)
echo "Python $version on $machine"
../../.venv/bin/uv pip install --target "$context/packages" --require-hashes --requirements requirements.lock \
  --only-binary :all: --python-version "$version" --python-platform "$machine-unknown-linux-gnu"
tar -C ../.. --exclude=__pycache__ -c asyncpay harness/__init__.py harness/inside | tar -C "$context" -x
cp command "$context"
