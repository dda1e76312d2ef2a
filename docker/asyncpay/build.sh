#!/usr/bin/env bash
# build.sh CONTEXT: put the packages that asyncpay needs into CONTEXT, as wheels for the Python of the image $BASE, or,
# if it has none, for the Python that the Dockerfile installs. CONTEXT already has asyncpay itself, and harness/inside,
# which runs in the testbed's containers. UV names the program that fetches the wheels.
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
