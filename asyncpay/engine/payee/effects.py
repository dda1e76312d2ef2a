"""What the payee's engine wants done, once the changes of the same transition are stored."""

from dataclasses import dataclass
from typing import TypeAlias

from asyncpay.engine.payee.records import Claim


@dataclass(frozen=True, slots=True)
class SendRelease:
    """Show the pid to the payer's LSP, along the claim's path, with a way to answer.

    Only while the node is synced to the chain; if it is not: ReleaseHeldBack. If it cannot be sent for another
    reason, nothing is to be done.
    """

    claim: Claim


@dataclass(frozen=True, slots=True)
class SendRefusal:
    """Tell the payer's LSP that this pid will never be released, and why; addressed to the LSP itself, since on
    the path for the release it would see nothing but the pid. If it cannot be sent, nothing is to be done.

    reason: for the payer; it may say less than the claim's `failure`.
    """

    claim: Claim
    reason: str


@dataclass(frozen=True, slots=True)
class LookUpInvoices:
    """Ask the node what it knows of these payment hashes, then report as InvoicesSeen."""

    pid: bytes
    payment_hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the log."""

    what: str
    pid_hash: bytes
    payment_hashes: tuple[bytes, ...] = ()
    because: str = ""


Effect: TypeAlias = SendRelease | SendRefusal | LookUpInvoices | Log
