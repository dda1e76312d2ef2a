"""LND's RPC, cut down to the calls used here; `make setup` generates the stubs from the .proto files."""
