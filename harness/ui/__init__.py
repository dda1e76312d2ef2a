"""`testbed ui`: a page for a running testbed, and its HTTP API. Both call what the command line calls."""
