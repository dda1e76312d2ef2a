"""Both sides of a wallet as one engine: it pays and is paid beside the same node.

Neither side knows of the other. Each gets the node's events, and its own; to the other an event is the passing
of time. What they decide on one event is stored in one transaction.
"""

from typing import TypeAlias

from asyncpay.engine.core import Tick, Transition
from asyncpay.engine.payee import effects as payee_effects
from asyncpay.engine.payee.engine import Payee
from asyncpay.engine.payee.events import PayeeEvent
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payer import effects as payer_effects
from asyncpay.engine.payer.engine import Payer
from asyncpay.engine.payer.events import PayerEvent
from asyncpay.engine.payer.records import OutgoingPayment

WalletRecord: TypeAlias = OutgoingPayment | Claim
WalletEvent: TypeAlias = PayerEvent | PayeeEvent
WalletEffect: TypeAlias = payer_effects.Effect | payee_effects.Effect


class Wallet:
    """A payer and a payee. The contract with the shell is that of `asyncpay.engine.lsp.engine`."""

    def __init__(self, payer: Payer, payee: Payee) -> None:
        self.payer = payer
        self.payee = payee

    @property
    def next_deadline(self) -> float:
        """When either side must hear of the time again."""
        return min(self.payer.next_deadline, self.payee.next_deadline)

    @property
    def stored_time(self) -> float | None:
        """The time that the store is a witness of; None if nothing is stored."""
        times = [time for time in (self.payer.stored_time, self.payee.stored_time) if time is not None]
        return max(times, default=None)

    def handle(self, now: float, event: WalletEvent) -> Transition[WalletRecord, WalletEffect]:
        """Let both sides decide on one event at `now`."""
        paying = self.payer.handle(now, event if isinstance(event, PayerEvent) else Tick())
        being_paid = self.payee.handle(now, event if isinstance(event, PayeeEvent) else Tick())
        return Transition(paying.changes + being_paid.changes, paying.effects + being_paid.effects)
