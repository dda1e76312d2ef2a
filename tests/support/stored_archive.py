"""The archive of an LSP's store, played: the answers of asyncpay.store.archive from a collection of all records."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from asyncpay.engine.lsp.archive import ArchivedBlock, Found, Lookup, Outline, Summary
from asyncpay.engine.lsp.records import Archived, Attempt, Block, Htlc, Record


class StoredArchive:
    """All records of a store; those of blocks with an `Archived` among them are archived."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = list(records)
        self._entries = {each.key: each for each in self._records if isinstance(each, Archived)}

    def loaded(self, but: Collection[bytes] = ()) -> list[Record]:
        """What is loaded at the start. but: archived blocks that are in memory all the same."""
        away = self._entries.keys() - set(but)
        return [each for each in self._records if not isinstance(each, Archived) and _block_of(each) not in away]

    def summary(self) -> Summary:
        """What the engine must know at the start."""
        blocks = Counter((each.block.client, each.block.state) for each in self._all())
        entries = self._entries.values()
        times = [each.latest_at for each in entries if each.latest_at is not None]
        return Summary(
            tuple((client, state, number) for (client, state), number in blocks.items()),
            max(times, default=None),
            min((each.forget_after for each in entries if each.forget_after is not None), default=math.inf),
            min((each.forget_at_height for each in entries if each.forget_at_height is not None), default=math.inf),
        )

    def find(self, lookup: Lookup) -> Found:
        """What is asked for, and nothing else."""
        named = [each for each in self._all() if _is_named_by_message(each, lookup)]
        attempts = lookup.attempts if named else lookup.attempts + lookup.attempts_if_new
        found = [each for each in self._all() if _is_asked_for(each, lookup, attempts)]
        outlines = tuple(Outline(each.block, len(each.parts)) for each in named)
        due = lookup.due
        if due is None:
            return Found(tuple(found), outlines=outlines)
        after = sorted((e.forget_after, k) for k, e in self._entries.items() if e.forget_after is not None)
        height = sorted((e.forget_at_height, k) for k, e in self._entries.items() if e.forget_at_height is not None)
        over = [(n, key) for n, key in after if n <= due.unix_second][: due.most]
        over += [(n, key) for n, key in height if n <= due.height][: due.most]
        keys = {key for _, key in over} | {each.block.key for each in found}
        return Found(
            tuple(each for each in self._all() if each.block.key in keys),
            min((n for n, key in after if key not in keys), default=math.inf),
            min((n for n, key in height if key not in keys), default=math.inf),
            outlines,
        )

    def _all(self) -> Iterator[ArchivedBlock]:
        for key, entry in self._entries.items():
            mine = [each for each in self._records if _block_of(each) == key]
            (block,) = (each for each in mine if isinstance(each, Block))
            parts = tuple(each for each in mine if isinstance(each, Htlc))
            yield ArchivedBlock(entry, block, parts, tuple(each for each in mine if isinstance(each, Attempt)))


def _block_of(record: Record) -> bytes | None:
    match record:
        case Block(unblock_hash=name) | Htlc(block=name) | Attempt(block=name):
            return name
    return None


def _is_named_by_message(each: ArchivedBlock, lookup: Lookup) -> bool:
    payments = {(each.block.client, payment_hash) for payment_hash in each.block.payment_hashes}
    return each.block.key in lookup.unblock_hashes or not payments.isdisjoint(lookup.payments)


def _is_asked_for(each: ArchivedBlock, lookup: Lookup, attempts: Collection[bytes]) -> bool:
    return any(part.key in lookup.htlcs for part in each.parts) or any(
        attempt.payment_hash in attempts for attempt in each.attempts
    )
