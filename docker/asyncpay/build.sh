#!/usr/bin/env bash
# build.sh CONTEXT: put into CONTEXT the packages that asyncpay needs, as wheels for the Python of the image $BASE, or
# for the one that is installed there if it has none. asyncpay itself is there already, with what of the testbed runs in
# its containers. UV names the program that fetches them.
set -euo pipefail
cd "$(dirname "$0")"
readonly context=$1

in_base() { docker run --rm --network none --entrypoint "$1" "$BASE" "${@:2}"; }
machine=$(in_base uname -m)
version=$(in_base python3 -c 'import platform; print(platform.python_version())') ||
  version=$(sed -n 's/^CLN_OFFICIAL_PYTHON=//p' ../cln/versions.env)
echo "Python $version on $machine"
"${UV:?}" pip install --target "$context/packages" --require-hashes --requirements requirements.lock \
  --only-binary :all: --python-version "$version" --python-platform "$machine-unknown-linux-gnu"
touch "$context/harness/__init__.py"
cp command "$context"
