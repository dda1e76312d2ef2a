"""The LSP's file of another release, of another program, damaged, or without permission; and who may read it."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from asyncpay.engine.core import Drop, Put, StoredClock
from asyncpay.engine.lsp.records import (
    Attempt,
    Block,
    Delivered,
    Htlc,
    Method,
    Outcome,
    PushAttempt,
    StoredMessage,
    Webhook,
)
from asyncpay.engine.lsp.states import State
from asyncpay.lightning import ChannelId, HeldHtlc, HtlcKey, Resolution, ShortChannelId
from asyncpay.store import LspStore, StoreError, UnstorableError
from asyncpay.wire.onion import OnionMessage

from .test_store import stored_message

SECRET = 0o600


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lsp.sqlite"


# --- versions ---


def test_an_old_file_is_migrated_step_by_step(path: Path) -> None:
    shipped = LspStore.shipped_migrations()
    with LspStore(path) as store:
        store.commit([Put(stored_message(1))])
    second = "ALTER TABLE stored_messages ADD COLUMN colour TEXT; UPDATE stored_messages SET colour = 'red';"
    third = "ALTER TABLE stored_messages RENAME COLUMN colour TO hue;"
    with LspStore(path, [*shipped, second, third]) as store:
        assert list(store.load()) == [stored_message(1)]
        assert store._database.execute("SELECT hue FROM stored_messages").fetchone() == ("red",)
        assert store._database.execute("PRAGMA user_version").fetchone() == (len(shipped) + 2,)


def test_held_htlcs_of_a_file_that_kept_them_by_names_are_kept(path: Path) -> None:
    """Written by asyncpay at commit 9d1862d: two parts of a block, the ids as large as they may be, and one more."""
    shutil.copy(Path(__file__).parent / "stores" / "lsp-0001.sqlite", path)
    with LspStore(path) as store:
        htlcs = {str(record.key): record for record in store.load() if isinstance(record, Htlc)}
        blocks = [record for record in store.load() if isinstance(record, Block)]
    assert [block.state for block in blocks] == [State.HELD]
    assert htlcs.keys() == {"700000x12x1/0", f"16777215x16777215x65535/{2**63 - 1}", "700000x13x1/5"}
    held, passed = htlcs["700000x12x1/0"], htlcs["700000x13x1/5"]
    assert held.key == HtlcKey(ChannelId.from_name(ShortChannelId.parse("700000x12x1")), 0)
    assert (held.block, held.resolution, held.gone) == (blocks[0].key, None, False)
    assert (held.htlc.incoming_amount_msat, held.htlc.outgoing_amount_msat) == (510, 500)
    assert (held.htlc.incoming_expiry, held.htlc.outgoing_expiry) == (1100, 1060)
    assert (held.htlc.outgoing_channel, held.htlc.peer) == (2**64 - 1, blocks[0].client)
    assert (passed.resolution, passed.outcome, passed.preimage) == (Resolution.RESUME, Outcome.SETTLED, b"p" * 32)
    assert passed.gone


def test_every_record_of_a_file_with_the_earlier_names_is_kept(path: Path) -> None:
    """Written by asyncpay at commit 41f80d2, which called stored messages letters, and push attempts calls."""
    shutil.copy(Path(__file__).parent / "stores" / "lsp-0002.sqlite", path)
    a, b, s = b"\x02" * 33, b"\x03" * 33, b"\x04" * 33
    with LspStore(path) as store:
        kept = list(store.load())
    assert [type(record) for record in kept] == [
        Block, Htlc, Attempt, StoredMessage, StoredMessage, Delivered, PushAttempt, PushAttempt, Webhook
    ]  # fmt: skip
    block, htlc = kept[:2]
    assert isinstance(block, Block)
    assert isinstance(htlc, Htlc)
    assert (block.state, htlc.resolution, htlc.block) == (State.HELD, None, block.unblock_hash)
    assert kept[3:8] == [
        StoredMessage(
            client=b,
            message_id=b"2" * 32,
            number=0,
            source=a,
            message=OnionMessage(b"q" * 33, b"first"),
            arrived_at=2.5,
        ),
        StoredMessage(
            client=b,
            message_id=b"1" * 32,
            number=1,
            source=s,
            message=OnionMessage(b"p" * 33, b"second"),
            arrived_at=3.5,
        ),
        Delivered(client=b, message_id=b"3" * 32, delivered_at=4.5, pushed_at=2.5),
        PushAttempt(client=b, method=Method.ONION_MESSAGE, tries=3, last_at=4.5, next_at=None),
        PushAttempt(client=b, method=Method.PAYMENT_INCOMING, tries=1, last_at=4.5, next_at=64.5),
    ]
    once_more = kept[6]
    assert isinstance(once_more, PushAttempt)
    with LspStore(path) as store:
        store.commit([Drop(kept[3]), Put(replace(once_more, tries=4))])
    with LspStore(path) as store:
        again = list(store.load())
    assert again == [*kept[:3], *kept[4:6], replace(once_more, tries=4), *kept[7:]]


def test_a_file_that_knew_nothing_of_the_clock_is_kept_and_takes_it_in(path: Path) -> None:
    """Written by asyncpay at commit 7a3f147, the last whose files had no table for it."""
    shutil.copy(Path(__file__).parent / "stores" / "lsp-0004.sqlite", path)
    with LspStore(path) as store:
        assert store.clock() is None
        kept = list(store.load())
        for clock in (StoredClock(1_000_005.0, 0.0, 3600.0), StoredClock(1_000_009.5, -3600.25, -1.0)):
            store.commit([Put(clock)])
    assert [type(record) for record in kept] == [Block, Webhook]
    with LspStore(path) as store:
        assert store.clock() == clock
        assert list(store.load()) == kept


@pytest.mark.parametrize("column", ["time", "believed_offset_seconds", "shown_offset_seconds"])
@pytest.mark.parametrize("value", ["9e999", "-9e999", "1e300", "-2e11"])
def test_a_clock_beyond_all_time_is_damage(path: Path, column: str, value: str) -> None:
    with LspStore(path) as store:
        store.commit([Put(StoredClock(1_000_005.0, 0.0, 3600.0))])
        store._database.execute(f"UPDATE clock SET {column} = {value}")
        with pytest.raises(StoreError, match=r"lsp\.sqlite is damaged.*recover"):
            store.clock()


@pytest.mark.parametrize("value", ["9e999", "1e300"])
def test_a_record_of_a_time_beyond_all_time_is_damage(path: Path, value: str) -> None:
    with LspStore(path) as store:
        store.commit([Put(stored_message(1))])
        store._database.execute(f"UPDATE stored_messages SET arrived_at = {value}")
        with pytest.raises(StoreError, match=r"lsp\.sqlite is damaged.*recover"):
            list(store.load())


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    with LspStore(path) as store:
        store.commit([Put(stored_message(1))])
    with pytest.raises(StoreError):
        LspStore(path, [*LspStore.shipped_migrations(), "DROP TABLE stored_messages; DROP TABLE nonsense;"])
    with LspStore(path) as store:
        assert list(store.load()) == [stored_message(1)]


def test_a_number_that_its_column_has_no_room_for_leaves_the_file_whole(path: Path) -> None:
    key = HtlcKey(ChannelId.from_name(1), 2**64)
    held = HeldHtlc(
        key=key,
        payment_hash=bytes(32),
        peer=bytes(33),
        incoming_amount_msat=1,
        outgoing_amount_msat=1,
        incoming_expiry=1,
        outgoing_expiry=1,
    )
    bad = Htlc(htlc=held, block=None, offered_at=1.0, resolution=None)
    with LspStore(path) as store:
        with pytest.raises(UnstorableError) as caught:
            store.commit([Put(stored_message(1)), Put(bad)])
        assert caught.value.record is bad
        assert list(store.load()) == []


def test_a_newer_file_is_refused(path: Path) -> None:
    migrations = LspStore.shipped_migrations()
    LspStore(path, [*migrations, "SELECT 1;"]).close()
    with pytest.raises(StoreError, match=r"lsp\.sqlite was written by a newer release.*Start that release"):
        LspStore(path)


def test_a_commit_that_is_under_way_in_a_thread_is_waited_for_at_the_end(path: Path) -> None:
    """A component that is told to stop while it stores: without waiting SQLite takes the process down."""
    messages = [Put(replace(stored_message(0), message_id=number.to_bytes(32, "big"))) for number in range(5_000)]
    began = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with LspStore(path) as store:
            store._database.set_trace_callback(lambda _: began.set())
            stored = pool.submit(store.commit, messages)
            began.wait()
        stored.result()
    with LspStore(path) as store:
        assert len(list(store.load())) == len(messages)


# --- files that cannot be used ---


@pytest.mark.parametrize("damage", ["garbage", "cut", "holes"])
def test_a_damaged_file_is_refused_with_advice(path: Path, damage: str) -> None:
    with LspStore(path) as store:
        store.commit([Put(stored_message(number)) for number in range(100)])
    data = bytearray(path.read_bytes())
    match damage:
        case "garbage":
            data[:] = b"not a database at all" * 1000
        case "cut":
            del data[len(data) // 2 :]
        case "holes":
            for start in range(4096, len(data), 8192):
                data[start : start + 2000] = bytes(2000)
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"lsp\.sqlite is damaged.*recover"):
        LspStore(path)
    assert path.read_bytes() == data


def test_another_programs_file_is_not_touched(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE wallet (coins INTEGER)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="belongs to another program"):
        LspStore(path)
    assert path.read_bytes() == before


def test_two_lsps_cannot_share_a_file(path: Path) -> None:
    with LspStore(path), pytest.raises(StoreError, match="in use by another process"):
        LspStore(path)
    LspStore(path).close()


def test_sqlites_own_locks_are_kept_while_the_file_is_open(path: Path) -> None:
    """Another process cannot end the file's WAL mode, as it could without the lock that each open connection has. A
    process loses such locks when it closes any other descriptor of the file (sqlite.org/howtocorrupt.html, 2.2).
    """
    with LspStore(path) as first:
        first.commit([Put(stored_message(1))])
    with LspStore(path) as store:
        command = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1], 0).execute('PRAGMA journal_mode = DELETE'))"
        other = subprocess.run([sys.executable, "-c", command, str(path)], capture_output=True, text=True, check=False)
        assert "database is locked" in other.stderr, other.stdout
        assert list(store.load()) == [stored_message(1)]


def test_a_missing_directory_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Create its directory"):
        LspStore(tmp_path / "nowhere" / "lsp.sqlite")


NOBODY = 65534


@pytest.fixture
def folder_of_a_user() -> Iterator[Path]:
    """A new folder of a user who is not root, for whom permissions would mean nothing, and who the test is until its
    end.
    """
    user = os.geteuid() or NOBODY
    with tempfile.TemporaryDirectory() as name:  # the folders above tmp_path are closed to other users
        os.chown(name, user, -1)
        me = os.geteuid()
        os.seteuid(user)
        try:
            yield Path(name)
        finally:
            os.seteuid(me)


@pytest.mark.parametrize("existed", [False, True], ids=["new", "existing"])
def test_a_folder_without_permission_is_said_to_be_so(folder_of_a_user: Path, existed: bool) -> None:
    path = folder_of_a_user / "lsp.sqlite"
    if existed:
        LspStore(path).close()
    folder_of_a_user.chmod(0o500)
    with pytest.raises(StoreError, match=r"permissions|allow this user"):
        LspStore(path)


# --- secrets ---


def modes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


def test_all_of_its_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    old_mask = os.umask(0o022)
    try:
        with LspStore(tmp_path / "lsp.sqlite") as store:
            store.commit([Put(Webhook(client=bytes(33), app_name="a", url="b", used_at=0))])
            names = {"lsp.sqlite", "lsp.sqlite.lock", "lsp.sqlite-wal", "lsp.sqlite-shm"}
            assert modes(tmp_path) == dict.fromkeys(names, SECRET)
    finally:
        os.umask(old_mask)


def test_files_that_an_earlier_release_left_open_to_read_are_closed(tmp_path: Path) -> None:
    for name in ("lsp.sqlite", "lsp.sqlite.lock"):
        (tmp_path / name).touch(mode=0o644)
    LspStore(tmp_path / "lsp.sqlite").close()
    assert set(modes(tmp_path).values()) == {SECRET}
