"""The one exception of this package."""


class WireError(ValueError):
    """Bytes that cannot be read, or a value that cannot be written; the text says which one and why.

    A receiver drops the message and counts it. There are no finer errors: a receiver cannot answer a malformed message.
    """
