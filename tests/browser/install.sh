#!/usr/bin/env bash
# Chromium for the tests of tests/browser. One that is there is used as it is. Without one they are UNAVAILABLE.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then exit 0; fi
done
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  echo "installing Debian's chromium"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
else
  echo "no chromium is on PATH: install one; until then the tests in tests/browser are UNAVAILABLE" >&2
fi
