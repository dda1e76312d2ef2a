"""The container images of the testbed: pulled, or made on this machine."""
