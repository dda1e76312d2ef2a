"""The payer's records in memory, with the ways in which the engine looks them up."""

from collections.abc import Iterable, Iterator

from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.stages import FINISHED, Stage
from asyncpay.wire import messages


class Payments:
    """Every payment that was ever ordered, in the order in which they came."""

    def __init__(self, records: Iterable[OutgoingPayment] = ()) -> None:
        self._by_hash: dict[bytes, OutgoingPayment] = {}
        self._by_block: dict[bytes, bytes] = {}
        self._live: dict[bytes, None] = {}
        self._doubtful: dict[bytes, None] = {}
        for record in records:
            self.put(record)

    def __iter__(self) -> Iterator[OutgoingPayment]:
        return iter(self._by_hash.values())

    def __getitem__(self, payment_hash: bytes) -> OutgoingPayment:
        return self._by_hash[payment_hash]

    def get(self, payment_hash: bytes) -> OutgoingPayment | None:
        """The payment with this hash (32 bytes)."""
        return self._by_hash.get(payment_hash)

    def of_block(self, unblock_hash: bytes) -> OutgoingPayment | None:
        """The payment that the LSP knows by this name, 32 bytes."""
        payment_hash = self._by_block.get(unblock_hash)
        return None if payment_hash is None else self._by_hash[payment_hash]

    def live(self) -> list[OutgoingPayment]:
        """Those for which there is something left to do: not finished, or a cancel of theirs is not answered."""
        return [self._by_hash[key] for key in self._live]

    def doubtful(self) -> list[bytes]:
        """Hashes of those that count as failed although an order to pay them was lost sight of: few, one a crash."""
        return list(self._doubtful)

    def put(self, payment: OutgoingPayment) -> None:
        """Take this in place of the one with the same hash."""
        known = self._by_hash.get(payment.key)
        if (
            known is not None and known.pid != payment.pid
        ):  # ordered again: late answers to the earlier order say nothing
            del self._by_block[messages.unblock_hash(known.pid)]
        self._by_hash[payment.key] = payment
        self._by_block[messages.unblock_hash(payment.pid)] = payment.key
        if payment.stage is Stage.FAILED and payment.unsure_until is not None:
            self._doubtful[payment.key] = None
        else:
            self._doubtful.pop(payment.key, None)
        if payment.stage in FINISHED and payment.cancel_next_at is None:
            self._live.pop(payment.key, None)
        else:
            self._live[payment.key] = None
