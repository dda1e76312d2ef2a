"""What the tests of the LSP's engine begin with: who is there, over which channels, and what they ask for."""

from hashlib import sha256
from typing import Any

from asyncpay.lightning import Capabilities, ChannelId, Invoice, Link, NodeId, ShortChannelId
from asyncpay.nodes.cln.node import CAPABILITIES as OF_CLN
from asyncpay.nodes.lnd.node import CAPABILITIES as OF_LND
from asyncpay.wire.messages import BlockRequest, Courier, unblock_hash
from tests.support.keys import node_id

A, B, ROUTER, STRANGER = (node_id(name) for name in ("A", "B", "router", "stranger"))
CHANNEL_A, CHANNEL_A2, CHANNEL_B, CHANNEL_ROUTER = (
    ShortChannelId.parse(name) for name in ("100x1x0", "100x2x0", "100x3x0", "100x4x0")
)
PID = b"p" * 32
PREIMAGE = b"s" * 32
HASH = sha256(PREIMAGE).digest()
START = 1_000_000.0
HEIGHT = 500
FINAL_EXPIRY = HEIGHT + 600
CUTOFF_BLOCKS = OF_LND.cutoff_blocks or 0
"""So long before its expiry LND decides on a held HTLC by itself."""


def link(name: ShortChannelId, peer: NodeId, *, usable: bool = True) -> Link:
    """A channel that has kept its first name."""
    return Link(channel_id=ChannelId.from_name(name), short_channel_id=name, peer=peer, usable=usable)


def lnd() -> Capabilities:
    return OF_LND


def cln() -> Capabilities:
    return OF_CLN


def request(pid: bytes = PID, **changes: Any) -> BlockRequest:
    """A's block_request; the signature is not looked at by the engine."""
    values: dict[str, Any] = {
        "unblock_hash": unblock_hash(pid),
        "payment_hashes": (HASH,),
        "amount_msat": 1000,
        "release_by_height": HEIGHT + 432,
        "hold_until": int(START) + 86_400,
        "signature": bytes(65),
    }
    changes.pop("read_as", None)
    return BlockRequest(**(values | changes))


def invoice(**changes: Any) -> Invoice:
    values: dict[str, Any] = {
        "text": "lnbcrt1",
        "payment_hash": HASH,
        "payee": B,
        "amount_msat": 1000,
        "network": "regtest",
        "expires_at": int(START) + 100_000,
        "min_final_cltv_expiry": 80,
    }
    return Invoice(**(values | changes))


def courier() -> Courier:
    return Courier(path_key=B, onion=bytes(1366))


class CautiousHop:
    """A next hop that lets one message in 250 ms pass, four at once, and drops the others (Core Lightning)."""

    def __init__(self) -> None:
        self._room, self._at = 4.0, 0.0
        self.passed: list[bytes] = []
        self.dropped = 0

    def take(self, now: float, packet: bytes) -> None:
        self._room = min(4.0, self._room + (now - self._at) / 0.25)
        self._at = now
        if self._room < 1:
            self.dropped += 1
            return
        self._room -= 1
        self.passed.append(packet)
