"""The container images of the testbed: pulled, or built on this machine."""
