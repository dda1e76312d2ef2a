"""The archive in the LSP's file: what is moved there is not loaded, and is found by whatever an event names."""

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from asyncpay.engine.core import Drop, Put
from asyncpay.engine.lsp.archive import ArchivedBlock, Due, Found, Lookup, NamedBy, Outline, Summary
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.records import (
    Archived,
    Attempt,
    AttemptState,
    Block,
    Htlc,
    Outcome,
    Postponed,
    Record,
    Webhook,
)
from asyncpay.engine.lsp.states import State
from asyncpay.engine.policy import LspPolicy
from asyncpay.lightning import ChannelId, HeldHtlc, HtlcKey, Resolution
from asyncpay.node_events import Attached, BlockConnected
from asyncpay.nodes.lnd.node import CAPABILITIES
from asyncpay.store import LspStore, StoreError, UnstorableError
from asyncpay.wire.messages import BlockState

A, B = b"\x02" * 33, b"\x03" * 33


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LspStore]:
    with LspStore(tmp_path / "lsp.sqlite") as opened:
        yield opened


def block(number: int, client: bytes = A) -> Block:
    return Block(
        unblock_hash=bytes([number]) * 32,
        client=client,
        digest=bytes(32),
        payment_hashes=(bytes([number + 50]) * 32, bytes([number + 51]) * 32),
        amount_msat=1000,
        release_by_height=700,
        hold_until=2000,
        state=State.CLAIMED,
        first_part_at=10.0 + number,
        told=BlockState.SETTLED,
    )


def part(number: int, htlc_id: int = 0) -> Htlc:
    htlc = HeldHtlc(
        key=HtlcKey(ChannelId.from_name(number), htlc_id),
        payment_hash=bytes([number + 50]) * 32,
        peer=A,
        incoming_amount_msat=1010,
        outgoing_amount_msat=1000,
        incoming_expiry=900,
        outgoing_expiry=800,
    )
    settled = Htlc(
        htlc=htlc, block=bytes([number]) * 32, offered_at=20.0 + number + min(htlc_id, 1), resolution=Resolution.SETTLE
    )
    return replace(settled, preimage=b"p" * 32, outcome=Outcome.SETTLED, gone=True)


def attempt(number: int) -> Attempt:
    return Attempt(
        payment_hash=bytes([number + 50]) * 32,
        block=bytes([number]) * 32,
        fee_limit_msat=5,
        latest_expiry=800,
        state=AttemptState.PAID,
    )


def entry(number: int, client: bytes = A) -> Archived:
    held = block(number, client)
    return Archived(
        unblock_hash=held.key,
        client=client,
        payment_hashes=held.payment_hashes,
        forget_after=1000 + number,
        forget_at_height=None,
        latest_at=20.0 + number,
    )


def group(number: int) -> ArchivedBlock:
    return ArchivedBlock(entry(number), block(number), (part(number), part(number, 2**64 - 1)), (attempt(number),))


def archived(store: LspStore, *numbers: int) -> list[ArchivedBlock]:
    """Stored and archived."""
    groups = [group(number) for number in numbers]
    for each in groups:
        store.commit([*map(Put, each.records), Put(each.entry)])
    return groups


BY_MESSAGE: dict[str, Callable[[int], Lookup]] = {
    "unblock_hash": lambda n: Lookup(unblock_hashes=(bytes([n]) * 32,)),
    "payment": lambda n: Lookup(payments=((A, bytes([n + 51]) * 32),)),
}
WHOLE: dict[str, Callable[[int], Lookup]] = {
    "HTLC": lambda n: Lookup(htlcs=(part(n, 2**64 - 1).key,)),
    "attempt": lambda n: Lookup(attempts=(bytes([n + 50]) * 32,)),
    "attempt, if new": lambda n: Lookup((b"new" * 8,), attempts_if_new=(bytes([n + 50]) * 32,)),
}
LOOKUPS = {**BY_MESSAGE, **WHOLE}


def outline(number: int) -> Outline:
    return Outline(block(number), parts=2)


@pytest.mark.parametrize("lookup", BY_MESSAGE.values(), ids=BY_MESSAGE)
def test_a_message_finds_an_archived_block_without_reading_its_parts(
    store: LspStore, lookup: Callable[[int], Lookup]
) -> None:
    store.commit([Put(block(30)), Put(part(30))])
    archived(store, 1, 10)
    asked: list[str] = []
    store._database.set_trace_callback(asked.append)
    for number in (1, 10):
        found = store.recall(replace(lookup(number), attempts_if_new=(bytes([number + 50]) * 32,)))
        assert found == Found((), outlines=(outline(number),))
    store._database.set_trace_callback(None)
    of_parts = [each for each in asked if "FROM archived_htlcs" in each or "FROM archived_attempts" in each]
    assert {each.split(" FROM ")[0] for each in of_parts} == {"SELECT count(*)"}
    assert store.recall(lookup(30)) == Found(())
    assert store.recall(Lookup(payments=((B, bytes([52]) * 32),))) == Found(())


@pytest.mark.parametrize("lookup", WHOLE.values(), ids=WHOLE)
def test_an_archived_block_is_found_with_all_that_belongs_to_it(
    store: LspStore, lookup: Callable[[int], Lookup]
) -> None:
    store.commit([Put(block(30)), Put(part(30))])
    one, other = archived(store, 1, 10)
    assert list(store.load()) == [block(30), part(30)]
    assert store.recall(lookup(1)) == Found((one,))
    assert store.recall(lookup(10)) == Found((other,))
    assert store.recall(lookup(30)) == store.recall(Lookup()) == Found(())


def test_nothing_is_found_twice(store: LspStore) -> None:
    (one,) = archived(store, 1)
    every = [lookup(1) for lookup in LOOKUPS.values()]
    by_message = Lookup(every[0].unblock_hashes * 2, every[1].payments)
    assert store.recall(by_message) == Found((), outlines=(outline(1),))
    asked = replace(by_message, htlcs=every[2].htlcs, attempts=every[3].attempts)
    assert store.recall(asked) == Found((one,))


def test_what_is_taken_back_is_loaded_again(store: LspStore) -> None:
    one, other = archived(store, 1, 10)
    changed = replace(one.parts[0], gone=False)
    store.commit([Drop(one.entry), Put(changed)])
    assert list(store.load()) == [one.block, changed, one.parts[1], *one.attempts]
    for lookup in LOOKUPS.values():
        assert store.recall(lookup(1)) == Found(())
    assert store.recall(LOOKUPS["HTLC"](10)) == Found((other,))


def test_it_may_be_taken_back_changed_and_archived_in_one_transaction(store: LspStore) -> None:
    (one,) = archived(store, 1)
    changed, later = replace(one.parts[0], preimage=b"q" * 32), replace(one.entry, forget_after=5000)
    store.commit([Drop(one.entry), Put(changed), Put(later)])
    assert list(store.load()) == []
    expected = ArchivedBlock(later, one.block, (changed, one.parts[1]), one.attempts)
    assert store.recall(LOOKUPS["attempt"](1)) == Found((expected,))


def test_it_may_be_archived_and_taken_back_in_one_transaction(store: LspStore) -> None:
    one = group(1)
    store.commit([*map(Put, one.records), Put(one.entry), Drop(one.entry), Put(replace(one.block, told=None))])
    assert list(store.load()) == [replace(one.block, told=None), *one.parts, *one.attempts]
    assert store.archived() == Summary()


def test_what_is_deleted_leaves_nothing(store: LspStore) -> None:
    one, _ = archived(store, 1, 10)
    store.commit([Drop(one.entry), *map(Drop, one.records)])
    assert list(store.load()) == []
    assert [each.block for each in store.latest_archived(9)] == [block(10)]
    for table in ("blocks", "payments", "htlcs", "attempts"):
        count = "SELECT count(*) FROM archived_"
        assert store._database.execute(count + table).fetchone() == ({"blocks": 1, "attempts": 1}.get(table, 2),)


def test_the_summary_tells_how_many_there_are_and_what_is_due_first(store: LspStore) -> None:
    assert store.archived() == Summary()
    archived(store, 1, 10)
    returned = replace(block(20, B), state=State.RETURNED, told=BlockState.FAILED_BACK)
    by_height = replace(entry(20, B), forget_after=None, forget_at_height=701)
    store.commit([Put(returned), Put(by_height)])
    blocks = ((A, State.CLAIMED, 2), (B, State.RETURNED, 1))
    assert store.archived() == Summary(blocks, 40.0, first_forget_after=1001, first_forget_at_height=701)


def test_what_is_over_is_found_in_slices(store: LspStore) -> None:
    one, other, third = archived(store, 1, 10, 20)
    assert store.recall(Lookup(due=Due(1000, 700, 2))) == Found((), 1001, math.inf)
    assert store.recall(Lookup(due=Due(1001, 700, 2))) == Found((one,), 1010, math.inf)
    assert store.recall(Lookup(due=Due(1020, 700, 2))) == Found((one, other), 1020, math.inf)
    by_height = replace(third.entry, forget_after=None, forget_at_height=701)
    store.commit([Put(by_height)])
    assert store.recall(Lookup(due=Due(1000, 701, 2))) == Found((replace(third, entry=by_height),), 1001, math.inf)


def test_no_question_looks_at_every_archived_block(store: LspStore) -> None:
    asked: list[str] = []
    store._database.set_trace_callback(asked.append)
    archived(store, 1)
    for lookup in LOOKUPS.values():
        store.recall(lookup(1))
    store.recall(Lookup(due=Due(1020, 700, 2)))
    store.commit([Drop(entry(1)), *map(Drop, group(1).records)])
    store.archived()
    store._database.set_trace_callback(None)
    asked = [each for each in asked if "archived_" in each]
    plans = [line[3] for each in asked for line in store._database.execute("EXPLAIN QUERY PLAN " + each)]
    scans = {plan for plan in plans if plan.startswith("SCAN")}
    assert len(asked) > 20
    assert scans == {"SCAN archived_blocks USING COVERING INDEX archived_by_client"}, "of the summary, at the start"


def test_a_file_from_before_the_archive_is_archived_as_the_node_is_there(tmp_path: Path) -> None:
    """Written by asyncpay at commit f34bc9e. Of its blocks 2 and 3 nothing waits for; 4 the payer does not know, and
    a part of 5 is on its channel.
    """
    path = tmp_path / "lsp.sqlite"
    shutil.copy(Path(__file__).parent / "stores" / "lsp-0005.sqlite", path)
    with LspStore(path) as store:
        before = list(store.load())
        assert [type(record) for record in before] == [*[Block] * 5, *[Htlc] * 5, Attempt, Webhook]
        assert store.archived() == Summary()
        lsp = Lsp(LspPolicy(), CAPABILITIES, before, store.archived())
        links = Attached(node_id=B, network="regtest", height=800, links=(), online=frozenset())
        for event in (links, BlockConnected(801)):
            store.commit(lsp.handle(3000.0, event).changes)
            lsp.committed()
    with LspStore(path) as store:
        kept = list(store.load())
        assert {each.key[0] for each in kept if isinstance(each, Block)} == {1, 4, 5}
        assert store.archived().blocks == ((A, State.CLAIMED, 1), (A, State.SETTLED, 1))
        found = sorted(store.latest_archived(2), key=lambda each: each.block.key)
    again = {each.key: each for found_block in found for each in found_block.records}
    old = {each.key: each for each in before if each.key in again}
    assert [len(each.records) for each in found] == [2, 3]
    assert again == {
        key: replace(each, courier=None, invoice=None) if isinstance(each, Block) else each for key, each in old.items()
    }


def test_a_damaged_archive_is_reported(tmp_path: Path) -> None:
    with LspStore(tmp_path / "lsp.sqlite") as store:
        archived(store, 1)
        store._database.execute("UPDATE archived_blocks SET state = 'melted'")
        with pytest.raises(StoreError, match="damaged"):
            store.archived()


UNREADABLE = {
    "the block": (
        "UPDATE archived_blocks SET told = 77 WHERE unblock_hash = ?",
        {NamedBy.MESSAGE, NamedBy.HTLC, NamedBy.DUE},
    ),
    "a part": ("UPDATE archived_htlcs SET outcome = 'melted' WHERE block = ?", {NamedBy.HTLC, NamedBy.DUE}),
    "an attempt": ("UPDATE archived_attempts SET state = 'melted' WHERE block = ?", {NamedBy.HTLC, NamedBy.DUE}),
}


@pytest.mark.parametrize(("damage", "found_by"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_block_that_cannot_be_read_is_named_and_all_others_are_found(
    store: LspStore, damage: str, found_by: set[NamedBy]
) -> None:
    one, other = archived(store, 1, 10)
    store._database.execute(damage, (one.block.key,))
    lookups = {
        NamedBy.MESSAGE: Lookup((one.block.key, other.block.key)),
        NamedBy.HTLC: Lookup(htlcs=(one.parts[0].key, other.parts[0].key)),
        NamedBy.DUE: Lookup(due=Due(1020, 700, 2)),
    }
    for named_by, lookup in lookups.items():
        found = store.recall(lookup)
        readable = [each.block for each in found.blocks] + [each.block for each in found.outlines]
        unreadable = [(each.unblock_hash, each.named_by) for each in found.unreadable]
        assert other.block in readable
        assert (one.block in readable) == (named_by not in found_by)
        assert unreadable == ([(one.block.key, named_by)] if named_by in found_by else [])
    assert [each.block for each in store.latest_archived(9)] == [other.block]


def test_one_that_cannot_be_read_is_due_again_later(store: LspStore) -> None:
    one, other = archived(store, 1, 10)
    store._database.execute("UPDATE archived_blocks SET told = 77 WHERE unblock_hash = ?", (one.block.key,))
    store.commit([Put(Postponed(one.block.key, 5000))])
    assert store.recall(Lookup(due=Due(1020, 700, 1))).blocks == (other,)
    store.commit([Drop(other.entry), *map(Drop, other.records)])
    assert store.recall(Lookup(due=Due(1020, 700, 1))) == Found((), 5000, math.inf)


@pytest.mark.parametrize("kind", ["block", "part", "attempt"])
def test_what_cannot_be_archived_is_named_and_nothing_is_changed(store: LspStore, kind: str) -> None:
    """The archive has another record of its key, which it must keep."""
    archived(store, 1)
    records: dict[str, list[Record]] = {
        "block": [block(1)],
        "part": [block(2), replace(part(1), block=bytes([2]) * 32)],
        "attempt": [block(2), replace(attempt(1), block=bytes([2]) * 32)],
    }
    store.commit([Put(each) for each in (*records[kind], block(3))])
    before = list(store.load())
    bad = entry(1 if kind == "block" else 2)
    with pytest.raises(UnstorableError, match="UNIQUE") as caught:
        store.commit([Put(entry(3)), Put(bad), Put(Webhook(client=A, app_name="x", url="", used_at=0))])
    assert caught.value.record is bad
    assert list(store.load()) == before
    assert store.recall(LOOKUPS["HTLC"](1)).blocks == (group(1),)
    store.commit([Put(entry(3))])


def test_what_cannot_be_taken_back_is_named_and_nothing_is_changed(store: LspStore) -> None:
    archived(store, 1, 2)
    store.commit([Put(block(1))])
    before, bad = list(store.load()), entry(1)
    with pytest.raises(UnstorableError, match="UNIQUE") as caught:
        store.commit([Drop(entry(2)), Drop(bad)])
    assert caught.value.record is bad
    assert list(store.load()) == before
    assert store.recall(LOOKUPS["HTLC"](2)).blocks == (group(2),)
