"""Nodes whose keys are known."""

from coincurve import PrivateKey


class Node:
    """A node as the wire sees one: an id, and a signer that does ECDH."""

    def __init__(self, secret: bytes) -> None:
        self.key = PrivateKey(secret)
        self.id = self.key.public_key.format()
        self.ecdh = self.key.ecdh


# By the names that the protocol gives them; secrets as in the BOLTs, so easy to tell apart in a dump.
A, LSP_A, ROUTER, LSP_B, B = (Node(bytes([byte]) * 32) for byte in (0x41, 0x42, 0x43, 0x44, 0x45))

PID = bytes(range(32))
PATH_KEY, OTHER_PATH_KEY, ONION_KEY = (bytes([byte]) * 32 for byte in (1, 2, 3))
