"""Helpers shared by all tests: payments and their checks, scripted peers, known keys, vectors."""
