#!/usr/bin/env bash
# Provide a Docker engine with compose v2 on this machine. An engine that answers is used as it is (DOCKER_HOST,
# contexts, rootless). Otherwise, on Debian and Ubuntu as root, both are installed from the distribution; elsewhere the
# script prints what to install and exits with 2.
set -euo pipefail # with pipefail no reader may stop early, as grep -q does: the writer would fail
cd "$(dirname "$0")"

readonly PLUGINS=/usr/local/lib/docker/cli-plugins
readonly LOG=/var/log/dockerd.log
readonly START_SECONDS=60

main() {
  if engine_answers; then
    if compose_v2; then exit 0; fi
  elif command -v docker >/dev/null && named=$(engine_named_by_the_user); then
    give_up "the Docker engine named by $named does not answer; start it, or unset that to use this machine's own"
  fi

  local missing
  missing=$(what_is_missing)
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    give_up "$missing. Install Docker with its compose plugin (https://docs.docker.com/engine/install) and start it," \
      "so that 'docker info' and 'docker compose version' work for $(id -un)"
  fi
  echo "engine: $missing"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update || true # an unrelated broken source is no reason to stop; the installation reports relevant errors
  engine_answers || install_engine
  compose_v2 || install_compose
  engine_answers || start_engine
  compose_v2 || give_up "'docker compose version' does not report version 2 or later after its installation"
  echo "engine: Docker $(docker version --format '{{.Server.Version}}'), compose $(docker compose version --short)"
}

engine_answers() {
  timeout 10 docker info >/dev/null 2>&1 # without a client, this fails too
}

compose_v2() {
  docker compose version --short 2>/dev/null | grep -E '^v?([2-9]|[1-9][0-9])\.' >/dev/null
}

engine_named_by_the_user() {
  local context
  if [ -n "${DOCKER_HOST:-}" ]; then
    echo "DOCKER_HOST ($DOCKER_HOST)"
  else
    context=$(docker context show 2>/dev/null) && [ "$context" != default ] && echo "the docker context '$context'"
  fi
}

what_is_missing() {
  if ! command -v docker >/dev/null; then
    echo "there is no docker command on this machine"
  elif ! engine_answers; then
    echo "no Docker engine answers ($(docker info 2>&1 >/dev/null | tail -n 1))"
  else
    echo "docker has no compose plugin of version 2"
  fi
}

install_engine() {
  local packages=(docker.io iptables ca-certificates)
  if has_package docker-cli; then packages+=(docker-cli); fi # a package of its own since Debian 13
  if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
    echo "engine: installing ${packages[*]} from the distribution"
    quietly apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${packages[@]}"
  fi
}

install_compose() {
  local package
  if package=$(compose_v2_package); then
    echo "engine: installing $package from the distribution"
    quietly apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$package"
  else
    compose_from_a_newer_debian
  fi
}

# The distribution's own package with compose v2: docker-compose since Debian 13, docker-compose-v2 on Ubuntu.
compose_v2_package() {
  local package
  for package in docker-compose-v2 docker-compose; do
    if apt-cache policy "$package" 2>/dev/null | grep -E '^ *Candidate: ([2-9]|[1-9][0-9])\.' >/dev/null; then
      echo "$package"
      return
    fi
  done
  return 1
}

# Debian 12's own compose is v1. The plugin in newer Debian releases needs only libc, so only that file is installed.
# (A subshell, because of the trap.)
compose_from_a_newer_debian() (
  . ./versions.env
  mirror=$(./apt-mirror.sh)
  [ -n "$mirror" ] || give_up "this distribution has no package of docker compose v2; install the compose plugin"
  echo "engine: taking the compose plugin from Debian $DEBIAN_SUITE"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/lists/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $DEBIAN_SUITE main" >"$work/sources.list"
  apt=(apt-get -qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists="$work/lists" -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false)
  quietly "${apt[@]}" update
  (cd "$work" && quietly "${apt[@]}" download docker-compose && dpkg-deb -x docker-compose_*.deb unpacked)
  install -D -m 755 "$work/unpacked/usr/libexec/docker/cli-plugins/docker-compose" "$PLUGINS/docker-compose"
)

start_engine() {
  if [ -d /run/systemd/system ]; then
    echo "engine: systemctl start docker"
    systemctl start docker
  else
    echo "engine: starting dockerd (its log is $LOG)"
    setsid dockerd >>"$LOG" 2>&1 </dev/null &
  fi
  local deadline=$((SECONDS + START_SECONDS))
  until engine_answers; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      tail -n 20 "$LOG" >&2 || true
      give_up "the Docker engine does not answer $START_SECONDS s after its start"
    fi
    sleep 0.3
  done
}

has_package() { apt-cache show "$1" >/dev/null 2>&1; }

# Show the output of a package manager only if it fails.
quietly() {
  local output
  output=$("$@" 2>&1) || {
    printf '%s\n' "$output" >&2
    give_up "'$*' failed"
  }
}

give_up() {
  echo "engine: $*" >&2
  exit 2
}

main
