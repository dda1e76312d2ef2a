"""What an operator is told: of finished blocks, those that ended last."""

import io
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from asyncpay.engine.core import Put
from asyncpay.engine.lsp.archive import Lookup
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.records import Archived, Block
from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import LspPolicy
from asyncpay.nodes.lnd.node import CAPABILITIES
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.lsp import status
from asyncpay.store import LspStore
from asyncpay.wire.messages import BlockState
from tests.support.held_payments import START, block, client


def finished(number: int) -> Block:
    name = sha256(b"finished" + number.to_bytes(8, "big")).digest()
    return replace(block(number), unblock_hash=name, state=State.SETTLED, told=BlockState.SETTLED)


def entry(ended: Block) -> Archived:
    return Archived(
        unblock_hash=ended.key,
        client=ended.client,
        payment_hashes=ended.payment_hashes,
        forget_after=ended.hold_until,
        forget_at_height=None,
        latest_at=None,
    )


def test_blocks_in_their_order_those_that_ended_first(tmp_path: Path) -> None:
    """Of all that are archived the last ones are listed, and all are counted."""
    ended = [finished(number) for number in range(status.MOST_ARCHIVED + 20)]
    held = block(500)
    with LspStore(tmp_path / "lsp.sqlite") as store:
        for each in ended:
            store.commit([Put(each), Put(entry(each))])
        store.commit([Put(held)])
        lsp = Lsp(LspPolicy(), CAPABILITIES, store.load(), store.archived())
        lsp.recall(store.recall(Lookup(unblock_hashes=(ended[-1].key,))))
        latest = store.latest_archived(status.MOST_ARCHIVED)
    said = status.snapshot(lsp, latest[::-1], EventLog(io.StringIO()), START, None)
    listed = [bytes.fromhex(each["unblock_hash"]) for each in said["blocks"]]
    assert set(listed) == {each.key for each in ended[20:]} | {held.key}
    assert len(listed) == status.MOST_ARCHIVED + 1, "none twice"
    assert listed[:-2] == [each.key for each in ended[20:-1]]
    assert said["archived_blocks"] == len(ended)
    assert {each["client"] for each in said["blocks"]} > {client(500).hex()}
