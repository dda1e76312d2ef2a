"""The stored records of a payee, one for each announced pid, and their indexes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sortedcontainers import SortedList

from asyncpay.engine.payee.states import FINISHED, UNPAID, State
from asyncpay.lightning import NodeId
from asyncpay.wire import messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A held payment, announced by payment_pending. See states.py.

    pid: 32 bytes. payment_hashes: 1 to 4 of 32 bytes; paid: those whose invoices are paid.
    amount_msat, release_by_height, hold_until: as announced, but hold_until is limited to the expiry of the invoices.
    release_path: the blinded path (encoded) that came with the announcement; if there is none, payer_lsp and
    payer (node ids, 33 bytes) are set, and the payee builds the path itself.
    tries, next_at: how often the release was sent, and when it is due again (Unix seconds).
    proven: whether the announcement proved that it came from a holder of the invoices.
    failure: the reason of a refusal, for users.
    """

    pid: bytes
    payment_hashes: tuple[bytes, ...]
    paid: tuple[bytes, ...] = ()
    amount_msat: int
    release_by_height: int
    hold_until: int
    release_path: bytes | None = None
    payer_lsp: NodeId | None = None
    payer: NodeId | None = None
    announced_at: float
    state: State = State.RELEASING
    tries: int = 0
    next_at: float | None = None
    failure: str = ""
    proven: bool = True

    @property
    def key(self) -> bytes:
        """pid, 32 bytes."""
        return self.pid

    @property
    def is_live(self) -> bool:
        """Whether the payee still asks for its release."""
        return self.state not in FINISHED


class ClaimRecords:
    """All claims that are kept, in the order of their announcement. Change it only with `put` and `drop`."""

    def __init__(self, records: Iterable[Claim] = ()) -> None:
        self._by_pid: dict[bytes, Claim] = {}
        self._by_pid_hash: dict[bytes, bytes] = {}
        self._number: dict[bytes, int] = {}
        self._numbered = 0
        self._live: dict[bool, dict[bytes, None]] = {True: {}, False: {}}  # proven, and not proven
        self._unpaid_for: dict[bytes, dict[bytes, None]] = {}
        self._finished: SortedList[tuple[bool, float, int, bytes]] = SortedList()
        for record in records:
            self.put(record)

    def __iter__(self) -> Iterator[Claim]:
        return iter(self._by_pid.values())

    def __getitem__(self, pid: bytes) -> Claim:
        return self._by_pid[pid]

    def get(self, pid: bytes) -> Claim | None:
        """Return the claim with this pid (32 bytes)."""
        return self._by_pid.get(pid)

    def by_pid_hash(self, unblock_hash: bytes) -> Claim | None:
        """Return the claim whose pid has this hash (32 bytes)."""
        pid = self._by_pid_hash.get(unblock_hash)
        return None if pid is None else self._by_pid[pid]

    def live(self) -> list[Claim]:
        """Return the live claims."""
        return self.live_among((*self._live[True], *self._live[False]))

    def live_among(self, pids: Iterable[bytes]) -> list[Claim]:
        """Return the live claims among these, each once, in the order of their announcement."""
        claims = {pid: self._by_pid[pid] for pid in pids if pid in self._by_pid}
        return sorted((claim for claim in claims.values() if claim.is_live), key=lambda claim: self._number[claim.pid])

    def live_unproven(self) -> int:
        """Return the number of live claims that are not proven."""
        return len(self._live[False])

    def live_for(self, payment_hash: bytes, *, proven: bool) -> list[Claim]:
        """Return the live claims for this payment hash (32 bytes) that are proven, or those that are not."""
        return [claim for claim in self.unpaid_for(payment_hash) if claim.is_live and claim.proven == proven]

    def unpaid_for(self, payment_hash: bytes) -> list[Claim]:
        """Return the claims for this payment hash (32 bytes) whose payment may still arrive."""
        return [self._by_pid[pid] for pid in self._unpaid_for.get(payment_hash, ())]

    def excess(self, most: int) -> list[Claim]:
        """Return the finished claims beyond this number: unproven ones before all others, each kind oldest first."""
        return [self._by_pid[pid] for *_, pid in self._finished[: max(0, len(self._finished) - most)]]

    def put(self, claim: Claim) -> None:
        """Replace the claim with the same pid, or add this one."""
        known, pid = self._by_pid.get(claim.pid), claim.pid
        if known is None:
            self._numbered += 1
            self._number[pid] = self._numbered
            self._by_pid_hash[messages.unblock_hash(pid)] = pid
        elif not known.is_live:
            self._finished.remove(self._place(known))
        self._by_pid[pid] = claim
        if claim.is_live:
            self._live[claim.proven][pid] = None
        else:
            self._live[claim.proven].pop(pid, None)
            self._finished.add(self._place(claim))
        if claim.state in UNPAID:
            for payment_hash in claim.payment_hashes:
                self._unpaid_for.setdefault(payment_hash, {})[pid] = None
        else:
            self._not_unpaid(claim)

    def drop(self, claim: Claim) -> None:
        """Delete a finished claim."""
        self._finished.remove(self._place(claim))
        self._not_unpaid(claim)
        del self._by_pid[claim.pid]
        del self._by_pid_hash[messages.unblock_hash(claim.pid)]
        del self._number[claim.pid]

    def _not_unpaid(self, claim: Claim) -> None:
        for payment_hash in claim.payment_hashes:
            if payment_hash in self._unpaid_for:
                self._unpaid_for[payment_hash].pop(claim.pid, None)
                if not self._unpaid_for[payment_hash]:
                    del self._unpaid_for[payment_hash]

    def _place(self, finished: Claim) -> tuple[bool, float, int, bytes]:
        """Return the sort key of a finished claim: the first ones are deleted first."""
        return finished.proven, finished.announced_at, self._number[finished.pid], finished.pid
