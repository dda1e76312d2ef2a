"""The live page and its API, without a testbed."""
