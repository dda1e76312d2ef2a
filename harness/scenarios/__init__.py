"""Complete scenarios on a running testbed: the async payment, and its interop matrix."""
