"""The wallet's file: what its engines keep comes out as it went in. What every store does is in test_store.py."""

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncpay.engine.core import Drop, Put, StoredClock
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payee.states import State as ClaimState
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.states import State
from asyncpay.store import WalletStore
from asyncpay.wire.messages import BlockState
from asyncpay.wire.onion import OnionMessage

HASH = st.binary(min_size=32, max_size=32)
HASHES = st.lists(HASH, max_size=4).map(tuple)
NODE = st.binary(min_size=33, max_size=33)
NUMBER = st.integers(0, 2**63 - 1)
TIME = st.floats(0, 1e10)
TEXT = st.text(st.characters(codec="utf-8"))

records = st.one_of(
    st.builds(
        OutgoingPayment,
        payment_hash=HASH,
        pid=HASH,
        lsp=NODE,
        payee=NODE,
        invoice=TEXT,
        description=TEXT,
        amount_msat=NUMBER,
        fee_limit_msat=NUMBER,
        slack_blocks=NUMBER,
        cltv_limit_blocks=NUMBER,
        max_parts=NUMBER,
        release_by_height=NUMBER,
        hold_until=NUMBER,
        request=st.binary(),
        cancel=st.binary(),
        pending=st.builds(OnionMessage, NODE, st.binary()),
        created_at=TIME,
        state=st.sampled_from(State),
        requests_sent=NUMBER,
        request_next_at=st.none() | TIME,
        cancelled=st.booleans(),
        cancels_sent=NUMBER,
        cancel_next_at=st.none() | TIME,
        told=st.none() | st.sampled_from(BlockState),
        told_parts=NUMBER,
        preimage=st.none() | HASH,
        fee_msat=NUMBER,
        failure=TEXT,
        ended_at=st.none() | TIME,
        begun=st.booleans(),
        unsure_until=st.none() | TIME,
    ),
    st.builds(
        Claim,
        pid=HASH,
        payment_hashes=HASHES,
        paid=HASHES,
        amount_msat=NUMBER,
        release_by_height=NUMBER,
        hold_until=NUMBER,
        release_path=st.none() | st.binary(),
        payer_lsp=st.none() | NODE,
        payer=st.none() | NODE,
        announced_at=TIME,
        state=st.sampled_from(ClaimState),
        tries=NUMBER,
        next_at=st.none() | TIME,
        failure=TEXT,
        proven=st.booleans(),
    ),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wallet.sqlite"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.lists(records, unique_by=lambda record: (type(record), record.key)))
def test_what_goes_in_comes_out(path: Path, written: list[OutgoingPayment | Claim]) -> None:
    with WalletStore(path) as store:
        store.commit([Put(record) for record in written])
    with WalletStore(path) as store:
        assert sorted(store.load(), key=repr) == sorted(written, key=repr)
        store.commit([Drop(record) for record in written])
        assert list(store.load()) == []


@settings(max_examples=20, deadline=None)
@given(record=records)
def test_a_record_is_replaced_as_a_whole(
    record: OutgoingPayment | Claim, tmp_path_factory: pytest.TempPathFactory
) -> None:
    newer = replace(record, failure="newer", state=list(type(record.state))[-1])  # type: ignore[arg-type]
    with WalletStore(tmp_path_factory.mktemp("wallet") / "wallet.sqlite") as store:
        store.commit([Put(record), Put(newer)])
        assert list(store.load()) == [newer]


def test_a_file_of_the_first_version_is_migrated(path: Path) -> None:
    """store_files holds it as the first version of the wallet wrote it. Its claims had nothing to prove."""
    with sqlite3.connect(path) as old:
        old.executescript((Path(__file__).parent / "store_files" / "wallet-0001.sql").read_text())
    old.close()
    with WalletStore(path) as store:
        refused, live = store.load()
    assert isinstance(live, Claim)
    assert live == Claim(
        pid=b"p" * 32,
        payment_hashes=(b"h" * 32, b"i" * 32),
        paid=(b"h" * 32,),
        amount_msat=1000,
        release_by_height=932,
        hold_until=1_086_400,
        release_path=b"path",
        announced_at=1_000_000.5,
        state=ClaimState.RELEASING,
        tries=2,
        next_at=1_000_020.0,
        proven=False,
    )
    assert isinstance(refused, Claim)
    assert (refused.state, refused.failure, refused.proven) == (ClaimState.REFUSED, "no", False)


def test_payments_in_a_file_of_the_first_version_are_migrated(path: Path) -> None:
    """Written by asyncpay at commit 9d1862d: one that was being paid, one that had failed, one that was paid.

    Whether the node was told to pay is not in there, so it counts as told: the invoice is not paid once more.
    """
    shutil.copy(Path(__file__).parent / "stores" / "wallet-0001.sqlite", path)
    paying = OutgoingPayment(
        payment_hash=b"h" * 32,
        pid=b"p" * 32,
        lsp=b"\x02" * 33,
        payee=b"\x03" * 33,
        invoice="lnbcrt1",
        description="tea",
        amount_msat=1_000,
        fee_limit_msat=10,
        slack_blocks=432,
        cltv_limit_blocks=1_000,
        max_parts=16,
        max_part_msat=600,
        release_by_height=932,
        hold_until=1_086_400,
        request=b"request",
        cancel=b"cancel",
        pending=OnionMessage(b"q" * 33, b"onion"),
        created_at=1_000_000.5,
        state=State.PAYING,
        requests_sent=2,
        request_next_at=1_000_020.0,
        begun=True,
    )
    failed = replace(
        paying,
        payment_hash=b"i" * 32,
        pid=b"r" * 32,
        created_at=1_000_001.0,
        state=State.FAILED,
        request_next_at=None,
        cancelled=True,
        cancels_sent=1,
        cancel_next_at=1_000_030.0,
        failure="no route",
        ended_at=1_000_010.0,
    )
    settled = replace(
        paying,
        payment_hash=b"j" * 32,
        pid=b"s" * 32,
        created_at=1_000_002.0,
        state=State.SETTLED,
        request_next_at=None,
        told=BlockState.SETTLED,
        told_parts=2,
        preimage=b"x" * 32,
        fee_msat=7,
        ended_at=1_000_011.0,
    )
    with WalletStore(path) as store:
        assert list(store.load()) == [paying, failed, settled]
        store.commit([Put(replace(failed, cancel_next_at=None))])
    with WalletStore(path) as store:
        assert [each.may_be_ordered_again for each in store.load() if isinstance(each, OutgoingPayment)] == [False] * 3


def test_a_file_that_knew_nothing_of_the_clock_is_kept_and_takes_it_in(path: Path) -> None:
    """Written by asyncpay at commit 7a3f147, the last whose files had no table for it."""
    shutil.copy(Path(__file__).parent / "stores" / "wallet-0005.sqlite", path)
    with WalletStore(path) as store:
        assert store.clock() is None
        kept = list(store.load())
        store.commit([Put(StoredClock(1_000_005.0, 0.0, 3600.0))])
    assert [type(record) for record in kept] == [Claim]
    with WalletStore(path) as store:
        assert store.clock() == StoredClock(1_000_005.0, 0.0, 3600.0)
        assert list(store.load()) == kept


def test_a_file_with_the_earlier_names_is_migrated(path: Path) -> None:
    """Written by asyncpay at commit 41f80d2, which called states stages."""
    shutil.copy(Path(__file__).parent / "stores" / "wallet-0004.sqlite", path)
    with WalletStore(path) as store:
        payment, claim = store.load()
    assert payment == OutgoingPayment(
        payment_hash=b"h" * 32,
        pid=b"p" * 32,
        lsp=b"\x02" * 33,
        payee=b"\x03" * 33,
        invoice="lnbcrt1",
        description="tea",
        amount_msat=1_000,
        fee_limit_msat=10,
        slack_blocks=432,
        cltv_limit_blocks=1_000,
        max_parts=16,
        release_by_height=932,
        hold_until=1_086_400,
        request=b"request",
        cancel=b"cancel",
        pending=OnionMessage(b"q" * 33, b"onion"),
        created_at=1_000_000.5,
        state=State.HANDED_OVER,
        told=BlockState.HELD,
        told_parts=1,
        begun=True,
    )
    assert isinstance(claim, Claim)
    assert (claim.pid, claim.state, claim.tries, claim.proven) == (b"c" * 32, ClaimState.RELEASING, 2, True)
