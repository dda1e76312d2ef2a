"""The testbed's errors; each message says what failed, why, and what to do."""


class TestbedError(Exception):
    """Base of every error that a user of the testbed is meant to read; the CLI prints it without a traceback."""

    __test__ = False  # the name starts with "Test": keep pytest from collecting it


class NodeError(TestbedError):
    """A node refused a call or did not answer; the message names the node and the call."""


class PaymentError(TestbedError):
    """A payment ended without the preimage; the message names payer, payee, amount and the node's reason."""


class ImageUnavailableError(TestbedError):
    """An image can neither be pulled nor built on this machine; the message says what was tried and how to get it."""
