# Sourced in this folder: where cargo keeps what it has compiled, for all checkouts of the user. A change of our own source
# then compiles that alone.
#
# Cargo takes our crate of another checkout for this one's, if the files here are older than what was compiled there: it
# compares times, not contents. So they are touched, and one checkout compiles at a time, until the script ends.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lightning-testbed/cargo}
mkdir -p "$CARGO_TARGET_DIR"
exec 9>"$CARGO_TARGET_DIR/checkout.lock"
flock 9
find src -name '*.rs' -exec touch {} +
