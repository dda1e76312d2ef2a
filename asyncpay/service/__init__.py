"""The running components: thin shells around the engines. `common.loop` is what both are made of."""
