# Sourced: where cargo keeps what it has compiled. A change of our own source then compiles that alone.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lightning-testbed/cargo}
mkdir -p "$CARGO_TARGET_DIR"
