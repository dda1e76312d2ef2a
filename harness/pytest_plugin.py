"""Pytest fixtures of the testbed, loaded through the `pytest11` entry point."""
