"""One turn of the payer's engine: what it knows, and the two lists that it fills while it thinks."""

from dataclasses import dataclass, field

from asyncpay.engine.core import Change, Put, UnixTime
from asyncpay.engine.node_view import Channels
from asyncpay.engine.payer.effects import Effect, Log
from asyncpay.engine.payer.payments import Payments
from asyncpay.engine.payer.policy import PayerPolicy
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.lightning import NodeId


@dataclass
class State:
    """What the engine knows. `payments` is stored; the rest is what the node last said, lost with the process.

    unix: the time of this turn, and Unix time as far as the clock is to be believed.
    height: of the last block heard of, None until the node was attached for the first time.
    ask_at: when to ask the node what became of a payment; none while an answer is awaited.
    ordered_again: payments for which the node got a second order after the last break.
    pending_at: when the message for the payee is due (again); pending_repeats: how often it was repeated since it
    left, or since the last reconnection, by this wallet and not by its LSP.
    """

    payments: Payments
    unix: UnixTime = field(default_factory=UnixTime)
    attached: bool = False
    height: int | None = None
    channels: Channels = field(default_factory=Channels)
    online: set[NodeId] = field(default_factory=set)
    ask_at: dict[bytes, float] = field(default_factory=dict)
    ordered_again: set[bytes] = field(default_factory=set)
    pending_at: dict[bytes, float] = field(default_factory=dict)
    pending_repeats: dict[bytes, int] = field(default_factory=dict)


@dataclass
class Turn:
    """The handling of one event. Changes show in `state` at once; effects wait until they are stored."""

    state: State
    policy: PayerPolicy
    changes: list[Change[OutgoingPayment]] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)

    @property
    def payments(self) -> Payments:
        """What is or will be stored."""
        return self.state.payments

    @property
    def now(self) -> float:
        """The time of this turn."""
        return self.state.unix.now

    def put(self, payment: OutgoingPayment) -> None:
        """Store this record."""
        self.payments.put(payment)
        self.changes.append(Put(payment))

    def do(self, effect: Effect) -> None:
        """Have this done."""
        self.effects.append(effect)

    def log(self, what: str, payment_hash: bytes, because: str = "") -> None:
        """Leave a line for whoever wants to follow the payment."""
        self.do(Log(what, payment_hash, because))
