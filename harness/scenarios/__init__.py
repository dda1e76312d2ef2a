"""Whole scenarios, played on a running testbed: the async payment, and the interop matrix of it."""
