"""Decisions, and nothing else: no I/O, no clock, no randomness. Events go in, effects come out."""
