"""The payee's engine: events in, changes and effects out.

Theory of operation
===================

`Payee.handle(now, event)` is the only way in, and its `Transition` the only way out, on the same terms as
`asyncpay.engine.lsp.engine`: the shell stores the changes of a transition in one transaction, then carries out its
effects in their order, calls `handle(now, Tick())` at `next_deadline`, and throws the engine away if it cannot
store. Then a crash anywhere is harmless: what was not sent is sent again, and a release may be repeated at will.

The payee can lose nothing but time, and room for records. So everything it does is bounded: few claims for
an invoice, few releases of a claim, and one refusal, of what it was never owed. Whether it was paid it hears
from its own node and from nobody else.

    announcing    is it owed?                    stages            the life of a claim, as a table
    releasing     let it go, again and again     records           what is stored
    arriving      the money is there             events, effects   the way in and out
    progress      from stage to stage            policy            the limits
                                                 turn              state, and one turn's lists
"""

import math
from collections.abc import Iterable

from asyncpay.engine.core import Transition
from asyncpay.engine.payee import dispatch, releasing
from asyncpay.engine.payee.effects import Effect
from asyncpay.engine.payee.events import PayeeEvent
from asyncpay.engine.payee.policy import PayeePolicy
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payee.turn import State, Turn


class Payee:
    """All decisions of one payee. `records`: what the store holds, in any order."""

    def __init__(self, policy: PayeePolicy, records: Iterable[Claim] = ()) -> None:
        self._policy = policy
        self.state = State({claim.key: claim for claim in records})
        self.next_deadline = -math.inf

    @property
    def stored_time(self) -> float | None:
        """The time, as `handle` takes it, that the store is a witness of; None if nothing is stored."""
        times = []
        for claim in self.state.claims.values():
            times.append(claim.announced_at)
            if claim.next_at is not None:
                times.append(claim.next_at - self._policy.release_most_seconds)
        return max(times, default=None)

    def handle(self, now: float, event: PayeeEvent) -> Transition[Claim, Effect]:
        """Decide on one event at `now`, and on everything that has become due by then.

        now: seconds; a clock that never goes back. How Unix time differs from it, ClockRead tells.
        """
        turn = Turn(self.state, self._policy)
        self.state.unix.advance(now, event)
        releasing.run(turn)
        dispatch.handle(turn, event)
        releasing.run(turn)
        self.next_deadline = releasing.next_at(turn)
        return Transition(tuple(turn.changes), tuple(turn.effects))
