"""What a payee must not forget: one record for each pid that it was shown, replaced as a whole."""

from dataclasses import dataclass

from asyncpay.engine.payee.stages import Stage
from asyncpay.lightning import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A held payment, announced by payment_pending. See stages.py.

    pid: 32 bytes. payment_hashes: 1 to 4 of 32 bytes; paid: those whose invoices are paid.
    amount_msat, release_by_height, hold_until: as announced; but none is held for longer than its invoices last.
    release_path: the blinded path (encoded) that came with the announcement; if there is none, payer_lsp and
    payer (node ids, 33 bytes) are there, and the payee builds the path itself.
    tries, next_at: how often the release was sent, and when it is due again (Unix seconds).
    proven: whether the announcement proved to come from a holder of the invoices.
    failure: why it was refused, for people.
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
    stage: Stage = Stage.RELEASING
    tries: int = 0
    next_at: float | None = None
    failure: str = ""
    proven: bool = True

    @property
    def key(self) -> bytes:
        """pid, 32 bytes."""
        return self.pid
