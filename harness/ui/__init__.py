"""`testbed ui`: a page for a running testbed, and its HTTP API. Both use the functions of the command line."""
