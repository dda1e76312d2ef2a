"""What LND's `synced_to_chain` says, and what else it shows when that is false."""

import asyncio
import struct
import time
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from asyncpay.lightning import SyncState
from asyncpay.nodes.base import NodeError
from asyncpay.nodes.lnd import chain
from asyncpay.nodes.proto import chainkit_pb2 as kit
from asyncpay.nodes.proto import lightning_pb2 as ln

TIP = bytes(range(32))
HOUR = 3600


def sync_state(*, synced: bool, wallet_at: int, tip_at: int, header: bytes | None = None) -> SyncState:
    """wallet_at, tip_at: the times of the wallet's block, and of the backend's best; seconds ago."""
    now = int(time.time())

    async def get_info(*_: Any, **__: Any) -> ln.GetInfoResponse:
        return ln.GetInfoResponse(synced_to_chain=synced, block_hash=TIP.hex(), best_header_timestamp=now - wallet_at)

    async def get_block_header(request: kit.GetBlockHeaderRequest, **_: Any) -> kit.GetBlockHeaderResponse:
        assert request.block_hash == TIP[::-1]
        made = bytes(68) + struct.pack("<I", now - tip_at) + bytes(8)
        return kit.GetBlockHeaderResponse(raw_block_header=made if header is None else header)

    lnd: Any = SimpleNamespace(
        address="x",
        calling=lambda _: nullcontext(),
        lightning=SimpleNamespace(GetInfo=get_info),
        chain_kit=SimpleNamespace(GetBlockHeader=get_block_header),
    )
    return asyncio.run(chain.sync_state(lnd))


def test_what_lnd_says_is_enough_if_it_is_yes() -> None:
    assert sync_state(synced=True, wallet_at=60, tip_at=60) == SyncState(synced=True)


def test_an_old_best_block_is_told_apart() -> None:
    assert sync_state(synced=False, wallet_at=3 * HOUR, tip_at=3 * HOUR) == SyncState(synced=False, old_tip=TIP)


@pytest.mark.parametrize(
    ("wallet_at", "tip_at"),
    [(3 * HOUR, 60), (4 * HOUR, 3 * HOUR), (60, 60)],
    ids=["the wallet is behind", "the wallet is behind an old block", "the graph is behind"],
)
def test_a_node_that_is_behind_is_behind(wallet_at: int, tip_at: int) -> None:
    assert sync_state(synced=False, wallet_at=wallet_at, tip_at=tip_at) == SyncState(synced=False)


@pytest.mark.parametrize("header", [b"", bytes(79), bytes(81)])
def test_a_header_of_another_length_is_an_error(header: bytes) -> None:
    with pytest.raises(NodeError, match="header"):
        sync_state(synced=False, wallet_at=3 * HOUR, tip_at=3 * HOUR, header=header)
