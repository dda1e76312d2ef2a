"""The testbed: real Lightning nodes on regtest, in containers, described by a topology file."""
