"""Fault injection: targets.py kills, suspends and restarts, failpoints.py stops a component at a chosen step."""
