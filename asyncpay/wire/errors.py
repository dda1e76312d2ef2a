"""The one exception of this package."""


class WireError(ValueError):
    """Bytes that cannot be read, or a value that cannot be written; the text says which one and why.

    Whoever receives messages drops the message and counts it. There is nothing finer to tell apart: an
    onion message has no sender to complain to.
    """
