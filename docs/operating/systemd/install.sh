#!/usr/bin/env bash
# install.sh [PYTHON]: install both components as services of systemd: the program in /opt/asyncpay, the user asyncpay,
# the units, and a configuration to be edited. Run again, it upgrades; it keeps the configuration. It starts nothing.
set -euo pipefail
cd "$(dirname "$0")"
readonly python=${1:-python3} prefix=/opt/asyncpay checkout=../../..

main() {
  [ "$(id -u)" = 0 ] || give_up "only root can install services. Run it with sudo"
  [ -d /run/systemd/system ] || give_up "systemd does not run on this machine. Use the container image, docs/operating.md"
  "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    give_up "$python is not Python 3.11 or newer with its module venv. Install python3-venv, or name another by PYTHON="

  echo "installing the program in $prefix"
  "$python" -m venv "$prefix"
  "$prefix/bin/pip" install --quiet --require-hashes --requirement $checkout/docker/asyncpay/requirements.lock
  "$prefix/bin/pip" install --quiet --no-deps --force-reinstall $checkout
  "$prefix/bin/asyncpay" lsp --help >/dev/null

  install -D -m 644 asyncpay.sysusers /etc/sysusers.d/asyncpay.conf
  systemd-sysusers /etc/sysusers.d/asyncpay.conf
  install -d -m 755 /etc/asyncpay
  local component
  for component in lsp wallet; do
    [ -e "/etc/asyncpay/$component.toml" ] || install -m 644 "$component.toml" "/etc/asyncpay/$component.toml"
    install -m 644 "asyncpay-$component.service" "/etc/systemd/system/asyncpay-$component.service"
  done
  systemctl daemon-reload
  echo "installed: $("$prefix/bin/pip" list 2>/dev/null | awk '$1 == "asyncpay" { print $1, $2 }')"
  echo "Edit /etc/asyncpay/lsp.toml (or wallet.toml), let the user asyncpay reach the node (docs/operating.md), then"
  echo "    systemctl enable asyncpay-lsp && systemctl restart asyncpay-lsp        # or asyncpay-wallet"
}

give_up() {
  echo "the services cannot be installed: $*." >&2
  exit 2
}

main
