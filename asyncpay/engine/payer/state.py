"""The state of the payer's engine, and the handling of one event.

Two rules keep the cost of an event independent of the number of payments. A handler touches the payments that
it concerns; every payment that waits for a time or a height is in an ordered index. `engine.on_tick` processes these
payments and no others.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from asyncpay.engine.context import EngineState, EventContext
from asyncpay.engine.core import Put
from asyncpay.engine.indexes import Deadlines
from asyncpay.engine.payer.interface import Effect, Log
from asyncpay.engine.payer.records import OutgoingPayment, PaymentRecords
from asyncpay.engine.payer.states import CANCELS_BLOCK, ENDS_BLOCK, FINISHED, TRANSITIONS, State, Trigger
from asyncpay.engine.policy import PayerPolicy
from asyncpay.log_events import LogEvent


@dataclass
class Schedule:
    """When to process each live payment again, by payment hash. `engine` maintains it.

    retry_at: when to send something, or to ask the node, again; applies only while the node is attached.
    by_hold_until, by_release_height: the block's deadlines, of payments that have not passed them.
    overdue: payments that have passed one. By a lower height or another reading of the clock they may not be overdue.
    """

    retry_at: Deadlines[bytes] = field(default_factory=Deadlines)
    by_hold_until: Deadlines[bytes] = field(default_factory=Deadlines)
    by_release_height: Deadlines[bytes] = field(default_factory=Deadlines)
    overdue: dict[bytes, None] = field(default_factory=dict)

    def remove(self, payment_hash: bytes) -> None:
        """Remove this payment from the schedule."""
        for index in (self.retry_at, self.by_hold_until, self.by_release_height):
            index.discard(payment_hash)
        self.overdue.pop(payment_hash, None)


@dataclass
class PayerState(EngineState):
    """The state of the engine. `payments` is stored; everything else is lost with the process.

    ask_node_at: when to ask the node for the outcome of a payment; not set while an answer is awaited.
    ordered_again: payments for which the node got a second order after the last interruption.
    send_pending_at: when the message for the payee is due (again).
    pending_repeats: how often this wallet, and not its LSP, has repeated that message since it was sent, or since the
    last reconnection.
    """

    payments: PaymentRecords
    schedule: Schedule = field(default_factory=Schedule)
    ask_node_at: dict[bytes, float] = field(default_factory=dict)
    ordered_again: set[bytes] = field(default_factory=set)
    send_pending_at: dict[bytes, float] = field(default_factory=dict)
    pending_repeats: dict[bytes, int] = field(default_factory=dict)

    def forget(self, payment_hash: bytes) -> None:
        """Clear the state of a payment that has ended: no more questions to the node or messages for the payee."""
        self.ask_node_at.pop(payment_hash, None)
        self.ordered_again.discard(payment_hash)
        self.send_pending_at.pop(payment_hash, None)
        self.pending_repeats.pop(payment_hash, None)


@dataclass
class Context(EventContext[PayerState, PayerPolicy, OutgoingPayment, Effect]):
    """The handling of one event. Changes apply to `state` immediately; effects wait until the changes are stored.

    touched: payments that the event concerns, to be processed before its handling ends.
    """

    touched: dict[bytes, None] = field(default_factory=dict)

    @property
    def payments(self) -> PaymentRecords:
        """The payments, including changes that are not stored yet."""
        return self.state.payments

    def put(self, payment: OutgoingPayment) -> None:
        """Store this record."""
        self.payments.put(payment)
        self.changes.append(Put(payment))
        self.touch([payment.key])

    def log(self, what: LogEvent, payment_hash: bytes, because: str = "") -> None:
        """Write a log line about the payment."""
        self.emit(Log(what, payment_hash, because))

    def touch(self, payment_hashes: Iterable[bytes]) -> None:
        """Process these payments before the handling of the event ends."""
        self.touched.update(dict.fromkeys(payment_hashes))

    def ask_node_at(self, payment: OutgoingPayment, seconds: float) -> None:
        """Schedule the next question to the node for the outcome of this payment."""
        self.state.ask_node_at[payment.key] = seconds
        self.touch([payment.key])

    def send_pending_at(self, payment: OutgoingPayment, seconds: float) -> None:
        """Schedule the next sending of the message for the payee."""
        self.state.send_pending_at[payment.key] = seconds
        self.touch([payment.key])

    def advance(self, payment: OutgoingPayment, trigger: Trigger, failure: str = "") -> bool:
        """Apply `trigger` to a payment. Return False if the payment's state ignores it (see states.py).

        failure: for users, if the payment fails by this.
        """
        state = TRANSITIONS[payment.state].get(trigger)
        if state is None:
            return False
        advanced = replace(
            payment,
            state=state,
            begun=payment.begun or state is State.PAYING,
            requests_sent=0 if state is State.PAYING else payment.requests_sent,
            request_next_at=self.now + self.policy.request_seconds if state is State.PAYING else None,
            failure=failure or payment.failure,
            ended_at=self.now if state in FINISHED else None,
        )
        if trigger in CANCELS_BLOCK and advanced.cancel_next_at is None:
            advanced = replace(advanced, cancel_next_at=self.now)
        self.put(advanced)
        if state in FINISHED:
            self.state.forget(payment.key)
        self.log(LogEvent(state.value), payment.key, because=failure or trigger.value)
        return True

    def block_in_force(self, payment: OutgoingPayment) -> bool:
        """Return whether the LSP may hold parts of this payment now or later."""
        return payment.told not in ENDS_BLOCK and not self.block_overdue(payment)

    def block_overdue(self, payment: OutgoingPayment) -> bool:
        """Return whether the block has passed one of its deadlines; then the LSP ends it by itself."""
        return self.state.unix.surely_past(payment.hold_until) or self.node.is_above(payment.release_by_height)
