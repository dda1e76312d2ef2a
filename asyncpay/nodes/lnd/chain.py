"""Whether LND is synced to the chain.

`synced_to_chain` (lnwallet/btcwallet/btcwallet.go: IsSynced, rpcserver.go: getChainSyncInfo) is true if LND's wallet,
graph and block dispatcher are at its backend's best block, and that block's header is at most two hours old. The age is
a heuristic for a backend that is itself behind, and wrong whenever no block is found for two hours (lnd#11004). At its
start LND waits for the same condition, so an LND that is started then serves no client before the next block.
"""

import struct
import time

from asyncpay.lightning import SyncState
from asyncpay.nodes.base import NodeError
from asyncpay.nodes.lnd.connection import CALL_SECONDS, Connection
from asyncpay.nodes.proto import chainkit_pb2 as kit
from asyncpay.nodes.proto import lightning_pb2 as ln

_OLD_SECONDS = 2 * 3600
_HEADER_BYTES = 80
_TIME_OFFSET = 68
"""The position of the time in a block header: 4 bytes, little-endian Unix seconds."""


async def sync_state(lnd: Connection) -> SyncState:
    """See Node.sync_state."""
    with lnd.calling("report whether it is synced"):
        info = await lnd.lightning.GetInfo(ln.GetInfoRequest(), timeout=CALL_SECONDS)
    if info.synced_to_chain:
        return SyncState(synced=True)
    tip = bytes.fromhex(info.block_hash)
    # best_header_timestamp belongs to the wallet's last processed block, block_hash to the backend's best block.
    wallet_at_tip = info.best_header_timestamp == await _time_of(lnd, tip)
    old = time.time() - info.best_header_timestamp > _OLD_SECONDS
    return SyncState(synced=False, old_tip=tip if wallet_at_tip and old else None)


async def _time_of(lnd: Connection, block_hash: bytes) -> int:
    """Return the time in a block's header, Unix seconds. block_hash: 32 bytes, in display order."""
    with lnd.calling("show its best block's header"):
        request = kit.GetBlockHeaderRequest(block_hash=block_hash[::-1])
        header = (await lnd.chain_kit.GetBlockHeader(request, timeout=CALL_SECONDS)).raw_block_header
    if len(header) != _HEADER_BYTES:
        raise NodeError(f"LND at {lnd.address} shows a block header of {len(header)} bytes, not {_HEADER_BYTES}")
    unix_seconds: int = struct.unpack_from("<I", header, _TIME_OFFSET)[0]
    return unix_seconds
