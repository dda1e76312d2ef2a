"""The testbed itself."""
