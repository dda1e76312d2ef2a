"""One package for each implementation of a Lightning node, behind the interface in `base`."""
