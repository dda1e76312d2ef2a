#!/usr/bin/env bash
# check.sh lint|test: rustfmt and clippy, or the unit tests, of ldkd. What has passed with this very source and compiler
# is not run again. The folder of compiled crates is the user's, so that all checkouts have one.
set -euo pipefail
cd "$(dirname "$0")"
if ! command -v cargo >/dev/null; then
  echo "ldkd: UNAVAILABLE: there is no cargo on PATH, so its $1 is not run"
  exit
fi
. ./target-dir.sh
what=$(cat Cargo.toml Cargo.lock rustfmt.toml check.sh $(find src -name '*.rs' | sort) <(cargo --version) | sha256sum)
passed=$CARGO_TARGET_DIR/passed-$1-${what:0:16}
[ ! -e "$passed" ] || exit 0
case $1 in
  lint)
    cargo fmt --check
    nice cargo clippy --quiet --release --locked --all-targets -- --deny warnings
    ;;
  test) nice cargo test --quiet --release --locked ;;
esac
touch "$passed"
