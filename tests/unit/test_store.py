"""The LSP's file: what goes in comes out, also after a kill; what cannot be used is refused with advice."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncpay.engine.core import Change, Drop, Put
from asyncpay.engine.lsp.records import (
    Attempt,
    AttemptState,
    Block,
    Delivered,
    Htlc,
    Method,
    Outcome,
    PushAttempt,
    Record,
    StoredMessage,
    Webhook,
)
from asyncpay.engine.lsp.states import State
from asyncpay.lightning import ChannelId, HeldHtlc, HtlcKey, Resolution, ShortChannelId
from asyncpay.store import LspStore, StoreError, UnstorableError
from asyncpay.wire.messages import BlockState
from asyncpay.wire.onion import OnionMessage

SECRET = 0o600
NODE = st.binary(min_size=33, max_size=33)
HASH = st.binary(min_size=32, max_size=32)
TIME = st.floats(0, 1e10)
HEIGHTS = st.integers(0, 2**32 - 1)
MSAT = st.integers(0, 21 * 10**17)
CHANNEL = st.integers(0, 2**64 - 1).map(ShortChannelId)
CHANNEL_ID = CHANNEL.map(ChannelId.from_name) | HASH.map(ChannelId)


def maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | strategy


held = st.builds(
    HeldHtlc,
    key=st.builds(HtlcKey, CHANNEL_ID, st.integers(0, 2**64 - 1)),
    payment_hash=HASH,
    peer=NODE,
    incoming_amount_msat=MSAT,
    outgoing_amount_msat=MSAT,
    incoming_expiry=HEIGHTS,
    outgoing_expiry=HEIGHTS,
    outgoing_channel=maybe(CHANNEL),
    outgoing_node=maybe(NODE),
)
records: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        Block,
        unblock_hash=HASH,
        client=NODE,
        digest=HASH,
        payment_hashes=st.lists(HASH, min_size=1, max_size=4).map(tuple),
        amount_msat=MSAT,
        release_by_height=HEIGHTS,
        hold_until=st.integers(0, 2**40),
        invoice=maybe(st.text()),
        invoice_expires_at=maybe(st.integers(0, 2**40)),
        courier=maybe(st.binary()),
        state=st.sampled_from(State),
        first_part_at=maybe(TIME),
        courier_sent=st.integers(0, 1000),
        courier_next_at=maybe(TIME),
        told=maybe(st.sampled_from(BlockState)),
    ),
    st.builds(
        Htlc,
        htlc=held,
        block=maybe(HASH),
        offered_at=TIME,
        resolution=maybe(st.sampled_from(Resolution)),
        preimage=maybe(HASH),
        outcome=maybe(st.sampled_from(Outcome)),
        gone=st.booleans(),
    ),
    st.builds(
        Attempt,
        payment_hash=HASH,
        block=HASH,
        fee_limit_msat=MSAT,
        latest_expiry=HEIGHTS,
        state=st.sampled_from(AttemptState),
    ),
    st.builds(
        StoredMessage,
        client=NODE,
        message_id=HASH,
        number=st.integers(0, 2**40),
        source=NODE,
        message=st.builds(OnionMessage, NODE, st.binary()),
        arrived_at=TIME,
    ),
    st.builds(Delivered, client=NODE, message_id=HASH, delivered_at=TIME, pushed_at=TIME),
    st.builds(
        PushAttempt,
        client=NODE,
        method=st.sampled_from(Method),
        tries=st.integers(0, 8),
        last_at=maybe(TIME),
        next_at=maybe(TIME),
    ),
    st.builds(Webhook, client=NODE, app_name=st.text(), url=st.text(), used_at=TIME),
)


def stored_message(number: int) -> StoredMessage:
    return StoredMessage(
        client=b"c" * 33,
        message_id=bytes([255 - number]) * 32,
        number=number,
        source=b"s" * 33,
        message=OnionMessage(b"p" * 33, bytes(1366)),
        arrived_at=1.5,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lsp.sqlite"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.lists(records, unique_by=lambda record: (type(record), record.key)))
def test_every_record_comes_back_as_it_went_in(tmp_path_factory: pytest.TempPathFactory, written: list[Record]) -> None:
    path = tmp_path_factory.mktemp("store") / "lsp.sqlite"
    with LspStore(path) as store:
        store.commit([Put(record) for record in written])
    with LspStore(path) as store:
        read = list(store.load())
    assert {(type(record), record.key): record for record in read} == {
        (type(record), record.key): record for record in written
    }


def test_stored_messages_come_back_in_order(path: Path) -> None:
    with LspStore(path) as store:
        store.commit([Put(stored_message(number)) for number in (3, 1, 2)])
        store.commit([Put(replace(stored_message(1), arrived_at=9.0))])
        assert [record.number for record in store.load() if isinstance(record, StoredMessage)] == [1, 2, 3]


def test_the_last_change_of_a_record_counts(path: Path) -> None:
    with LspStore(path) as store:
        store.commit(
            [
                Put(stored_message(1)),
                Drop(stored_message(1)),
                Put(stored_message(2)),
                Put(stored_message(1)),
                Drop(stored_message(2)),
            ]
        )
        assert list(store.load()) == [stored_message(1)]


def test_what_is_not_there_can_be_dropped(path: Path) -> None:
    with LspStore(path) as store:
        store.commit([Drop(stored_message(1))])
        assert list(store.load()) == []


def test_a_step_is_stored_whole_or_not_at_all(path: Path) -> None:
    unstorable: list[Change[Record]] = [Put(stored_message(1)), Put(replace(stored_message(2), number=2**70))]
    with LspStore(path) as store:
        with pytest.raises(UnstorableError):
            store.commit(unstorable)
        assert list(store.load()) == []
        store.commit([Put(stored_message(3))])
    with LspStore(path) as store:
        assert list(store.load()) == [stored_message(3)]


def test_a_full_disk_is_told_and_leaves_the_file_usable(path: Path) -> None:
    with LspStore(path) as store:
        store.commit([Put(stored_message(1))])
        (pages,) = store._database.execute("PRAGMA page_count").fetchone()
        store._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match=r"lsp\.sqlite.*full.*disk space"):
            store.commit([Put(stored_message(number)) for number in range(2, 100)])
        assert list(store.load()) == [stored_message(1)]
        store._database.execute("PRAGMA max_page_count = 100000")
        store.commit([Put(stored_message(2))])
        assert len(list(store.load())) == 2


def test_committed_changes_survive_a_kill(path: Path) -> None:
    """The child is killed in the middle of its work; every step that it reported is there, whole."""
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_store import stored_message
from asyncpay.engine.core import Put
from asyncpay.store import LspStore
store = LspStore(Path({str(path)!r}))
for step in range(0, 200, 2):
    store.commit([Put(stored_message(step)), Put(stored_message(step + 1))])
    print(step, flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    reported = [int(child.stdout.readline()) for _ in range(20)]
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with LspStore(path) as store:
        numbers = {record.number for record in store.load() if isinstance(record, StoredMessage)}
    assert set(reported) <= numbers
    assert {number ^ 1 for number in numbers} == numbers


def test_a_commit_is_on_disk_when_it_returns(path: Path) -> None:
    with LspStore(path) as store:
        assert store._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert store._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
