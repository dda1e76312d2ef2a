"""Checks of a running testbed: its balances, its state, exited services, and the artifacts of a failure."""
