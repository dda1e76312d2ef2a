"""The running components: thin shells around the engines. Both are built on `common.loop`."""
