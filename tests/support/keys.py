"""Node keys for tests: one for each name, always the same, and a node's operations with it."""

from hashlib import sha256

from coincurve import PrivateKey

from asyncpay.lightning import NodeId
from asyncpay.wire import signature


def key_of(name: str) -> PrivateKey:
    """The private key of the node with this name."""
    return PrivateKey(sha256(name.encode()).digest())


def node_id(name: str) -> NodeId:
    """Its public key, 33 bytes."""
    return id_of(key_of(name))


def id_of(key: PrivateKey) -> NodeId:
    """The node id of a private key."""
    public: bytes = key.public_key.format()
    return public


def signmessage(text: str, key: PrivateKey) -> bytes:
    """Return the signature of a node's `signmessage`, before zbase32: 65 bytes."""
    compact: bytes = key.sign_recoverable(signature.digest(text), hasher=None)
    return bytes([31 + compact[64]]) + compact[:64]
