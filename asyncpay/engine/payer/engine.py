"""The payer's engine: events in, changes and effects out.

Theory of operation
===================

`Payer.handle(now, event)` is the only way in, and its `Transition` the only way out, on the same terms as
`asyncpay.engine.lsp.engine`: the shell stores the changes of a transition in one transaction, then carries out its
effects in their order, calls `handle(now, Tick())` at `next_deadline`, and throws the engine away if it cannot
store. Then a crash anywhere is harmless, because of four rules:

- A stage is stored before the step that it names. What is found short of PAYING was never paid.
- The node pays a hash once, and its word alone ends a payment that it may have begun. After every `Attached` it
  is asked anew; if it knows nothing of a payment in PAYING, that order was lost, and is given again. That nothing
  was paid counts only once no order can be on its way any more (paying.py).
- Nothing that is sent is thought to have arrived. Requests, cancels and the payee's message are repeated byte
  for byte until there is an answer, and at once when the LSP has come back.
- What the LSP says moves a payment forward and never back, and nothing is paid twice whatever it says.

Each file is one subject, and can be read alone:

    checks        what is refused before it begins           stages            the life of a payment, as a table
    asking        the LSP is to hold the parts               records, payments what is stored
    paying        the node pays                              events, effects   the way in and out
    updates       what the LSP tells                         policy            the limits
    handing_over  the payee's message leaves                 turn              state, and one turn's lists
    releasing     a release seen by the payer                progress          from stage to stage
    calling_off   cancels                                    deadlines, clock  acting on the time
"""

import math
from collections.abc import Iterable

from asyncpay.engine.core import Transition
from asyncpay.engine.payer import clock, dispatch
from asyncpay.engine.payer.effects import Effect
from asyncpay.engine.payer.events import PayerEvent
from asyncpay.engine.payer.payments import Payments
from asyncpay.engine.payer.policy import PayerPolicy
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.turn import State, Turn


class Payer:
    """All decisions of one payer. `records`: what the store holds, in any order."""

    def __init__(self, policy: PayerPolicy, records: Iterable[OutgoingPayment] = ()) -> None:
        self._policy = policy
        self.state = State(Payments(records))
        self.next_deadline = -math.inf

    @property
    def stored_time(self) -> float | None:
        """The time, as `handle` takes it, that the store is a witness of; None if nothing is stored."""
        times = []
        for payment in self.state.payments:
            times.append(payment.created_at if payment.ended_at is None else payment.ended_at)
            if payment.request_next_at is not None:
                times.append(payment.request_next_at - self._policy.request_most_seconds)
            if payment.cancel_next_at is not None:
                times.append(payment.cancel_next_at - self._policy.cancel_most_seconds)
            if payment.unsure_until is not None:
                times.append(payment.unsure_until - self._policy.quiet_seconds)
        return max(times, default=None)

    def handle(self, now: float, event: PayerEvent) -> Transition[OutgoingPayment, Effect]:
        """Decide on one event at `now`, and on everything that has become due by then.

        now: seconds; a clock that never goes back. How Unix time differs from it, ClockRead tells.
        """
        turn = Turn(self.state, self._policy)
        self.state.unix.advance(now, event)
        dispatch.handle(turn, event)
        clock.run(turn)
        self.next_deadline = clock.next_at(turn)
        return Transition(tuple(turn.changes), tuple(turn.effects))
