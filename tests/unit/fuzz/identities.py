"""Who there is: the component's node, its clients and peers, and what they have heard."""

import asyncio
from collections import defaultdict
from hashlib import sha256
from typing import Any

from asyncpay.lightning import ShortChannelId
from tests.support.keys import key_of, node_id, signmessage

_NAMES = ("node", "client", "honest", "third", "stranger")
KEYS = {node_id(name): key_of(name) for name in _NAMES}
NODE, *PEERS = KEYS
CLIENT, HONEST, THIRD, STRANGER = PEERS
CHANNELS = {peer: ShortChannelId.parse(f"100x{number}x0") for number, peer in enumerate(PEERS[:-1], start=1)}
CHANNELS[STRANGER] = ShortChannelId.parse("100x9x0")
PREIMAGE = b"s" * 32
HASH = sha256(PREIMAGE).digest()


def sign(text: str, by: bytes = NODE) -> bytes:
    """The 65 bytes of a node's signmessage."""
    return signmessage(text, KEYS[by])


def onion_to(point: bytes) -> bytes:
    """The node key's part in peeling an onion."""
    shared: bytes = KEYS[NODE].ecdh(point)
    return shared


class Heard:
    """Base of the played nodes: custom messages that peers got, and invoices that the node can read.

    invoices: by text, the fields that are not as usual. payment_hash: of all of them.
    """

    payment_hash = HASH

    def __init__(self) -> None:
        self.invoices: dict[str, dict[str, Any]] = {}
        self.heard: dict[bytes, asyncio.Queue[bytes]] = defaultdict(asyncio.Queue)

    def hear(self, peer: bytes, payload: bytes) -> None:
        self.heard[peer].put_nowait(payload)
