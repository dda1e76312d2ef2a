"""What an LSP's store costs with many payments held and many more finished: to start from, and to look things up in.

    python -m tests.bench.bench_store [HELD] [FINISHED]

prints a table and writes artifacts/bench/store.json and store.svg. Each run is a process of its own that opens the file
and makes the engine of it, as `asyncpay lsp` does; then events that concern finished payments are decided on. The page
cache is warm.
"""

import multiprocessing
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from asyncpay.engine.core import Commit, Put, Recall, drive
from asyncpay.engine.lsp.engine import Lsp
from asyncpay.engine.lsp.interface import BlockRequested, ReleaseSeen
from asyncpay.engine.lsp.records import Archived, Block, Htlc
from asyncpay.engine.lsp.states import FINISHED as FINISHED_STATES
from asyncpay.lightning import HeldHtlc, HtlcKey, Resolution
from asyncpay.node_events import HtlcOffered
from asyncpay.nodes.lnd.node import CAPABILITIES
from asyncpay.store import LspStore
from tests.bench.bench_engine import request
from tests.bench.figures import Figure, report
from tests.support.held_payments import POLICY, START, attached, block, client, htlc, records_of

HELD, FINISHED, RUNS, EVENTS = 100_000, 1_000_000, 3, 1_000
TARGETS = {("open and load", "s"): 10.0, ("memory of the process", "MB"): 1000.0}
BATCH = 500

Figures = dict[tuple[str, str], float]
"""By name and unit."""


def fill(path: Path, held: int, finished: int) -> None:
    """A file with so many payments. Finished ones are copies of one that was archived, each with hashes of its own."""
    with LspStore(path) as store:
        changes = (Put(record) for number in range(held) for record in islice(records_of(number), 2))
        while batch := list(islice(changes, BATCH)):
            store.commit(batch)
        model = next(each for each in records_of(held) if isinstance(each, Block) and each.state in FINISHED_STATES)
        part = Htlc(htlc=htlc(held), block=model.key, offered_at=START, resolution=Resolution.RESUME, gone=True)
        entry = Archived(
            unblock_hash=model.key,
            client=client(held),
            payment_hashes=block(held).payment_hashes,
            forget_after=int(START) + 500_000,
            forget_at_height=None,
            latest_at=START,
        )
        store.commit([Put(model), Put(part), Put(entry)])
        _copy(store._database, held, finished - 1)


def _copy(database: sqlite3.Connection, clients: int, copies: int) -> None:
    database.create_function("client_number", 1, client, deterministic=True)
    database.create_function("hash_of", 1, lambda number: sha256(b"copy" + number.to_bytes(8, "big")).digest())
    columns = [row[1] for row in database.execute("PRAGMA table_info(archived_blocks)")]
    new = {
        "number": "NULL",
        "unblock_hash": "hash_of(n)",
        "client": f"client_number(n % {clients})",
        "payment_hashes": "randomblob(32)",
        "hold_until": "hold_until + n % 1000000",
        "forget_after": "forget_after + n % 1000000",
    }
    counting = f"WITH RECURSIVE counted(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n < {copies - 1}) "
    database.execute("BEGIN")
    database.execute(
        counting + f"INSERT INTO archived_blocks SELECT {', '.join(new.get(each, each) for each in columns)} "
        "FROM counted, (SELECT * FROM archived_blocks LIMIT 1)"
    )
    database.execute(
        "INSERT OR IGNORE INTO archived_payments SELECT client, payment_hashes, unblock_hash FROM archived_blocks"
    )
    columns = [row[1] for row in database.execute("PRAGMA table_info(archived_htlcs)")]
    new = {
        "channel_id": "substr(b.client, -8)",
        "htlc_id": "substr(b.unblock_hash, 1, 8)",
        "payment_hash": "b.payment_hashes",
        "peer": "b.client",
        "block": "b.unblock_hash",
    }
    database.execute(
        f"INSERT INTO archived_htlcs SELECT {', '.join(new.get(each, 'p.' + each) for each in columns)} "
        "FROM archived_blocks b, (SELECT * FROM archived_htlcs LIMIT 1) p WHERE b.number > 1"
    )
    database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def measure(path: Path, held: int, finished: int) -> Figures:
    """In a process of its own: start from the file, then decide on events about payments that have finished."""
    began, began_cpu = time.perf_counter(), time.process_time()
    with LspStore(path) as store:
        opened = time.perf_counter() - began
        lsp = Lsp(POLICY, CAPABILITIES, store.load(), store.archived())
        figures: Figures = {
            ("open and load", "s"): time.perf_counter() - began,
            ("of that CPU time", "s"): time.process_time() - began_cpu,
            ("of that opening and checking the file", "s"): opened,
            ("memory of the process", "MB"): resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        assert lsp.state.records.archive.total == finished
        lsp.handle(START, attached(held))
        names = store._database.execute(
            f"SELECT client, payment_hashes FROM archived_blocks WHERE number > 1 ORDER BY unblock_hash LIMIT {EVENTS}"
        ).fetchall()
        for kind, events in _events(names).items():
            figures[kind, "µs"] = _microseconds(store, lsp, events)
    return figures


def _events(names: list[tuple[bytes, bytes]]) -> dict[str, list[Any]]:
    numbers = range(len(names))
    late = [(int.from_bytes(owner[1:], "big"), payment_hash) for owner, payment_hash in names]
    return {
        "an HTLC of another hash": [HtlcOffered(htlc(number, htlc_id=100 + number % 100)) for number, _ in late],
        "a late part": [HtlcOffered(_with_hash(number, n, each)) for n, (number, each) in enumerate(late)],
        "a new request": [BlockRequested(client(number), request(number)) for number in numbers],
        "an unknown pid": [ReleaseSeen(sha256(b"unknown" + bytes([n % 256, n // 256])).digest()) for n in numbers],
    }


def _with_hash(number: int, n: int, payment_hash: bytes) -> HeldHtlc:
    offered = htlc(number)
    return replace(offered, key=HtlcKey(offered.key.channel_id, 1000 + n), payment_hash=payment_hash)


def _microseconds(store: LspStore, lsp: Lsp, events: list[Any]) -> float:
    """The median of deciding on one, with its lookup in the store, and without its commit."""
    times: list[float] = []
    for event in events:
        began = time.perf_counter()
        for action in drive(lsp, lambda: START, [event]):
            match action:
                case Recall(wanted, take):
                    take(store.recall(wanted))
                case Commit():
                    times.append(time.perf_counter() - began)
    return median(times) * 1e6


def runs(path: Path, held: int, finished: int) -> Iterator[Figures]:
    """Each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    for _ in range(RUNS):
        with context.Pool(1) as pool:
            yield pool.apply(measure, (path, held, finished))


def main() -> None:
    """Measure, print, write."""
    held, finished = (int(each) for each in (sys.argv[1:3] or (HELD, FINISHED)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lsp.sqlite"
        fill(path, held, finished)
        size_mb = path.stat().st_size / 1e6
        seen = list(runs(path, held, finished))
    title = f"{held} payments held, {finished} finished, a file of {size_mb:.0f} MB; {RUNS} runs"
    figures = [
        Figure(name, unit, [run[name, unit] for run in seen], TARGETS.get((name, unit))) for name, unit in seen[0]
    ]
    report("store", title, figures)


if __name__ == "__main__":
    main()
