"""The LSP engine: events in, changes and effects out.

Theory of operation
===================

`Lsp.handle(now, event)` is the only way in, and its `Transition` the only way out. The shell around it

1. stores all changes of the transition in one transaction,
2. then carries out the effects in their order, and reports what they ask to be reported as new events,
3. and calls `handle(now, Tick())` when `next_deadline` is reached.

If it cannot store a step it must throw the engine away, with the step, and start a new one from the store:
a failed write is a crash, and a crash is harmless. For the same reason several steps may be stored in one
transaction, as long as none of their effects runs before. What the node said is never stored. After a break,
in this process or in the node, it says it again: `Attached` begins a new stream, held HTLCs are offered anew,
a census tells what is gone, payments under way are tracked.

Each file is one subject, and can be read alone:

    stages        the life of a block, as a table            records, tables   what is stored
    requests      block and cancel                           events, effects   the way in and out
    holding       HTLCs: pass, hold, count                   policy            the limits
    waiting       fair shares of an offline client's slots
    release       pid and refusal                            turn              state, and one turn's lists
    on_behalf     paying in the payer's place                links             who can be reached
    exposure      what that may cost, and for how long
    deadlines     when it has lasted long enough             clock             acting on the time
    mailbox       messages for absent clients                inbound           onion messages to events
    courier       the payer's message, again and again       waking, webhooks  calling absent clients
"""

import math
from collections.abc import Iterable

from asyncpay.engine.core import Transition
from asyncpay.engine.lsp import clock, dispatch, policy, stored_time
from asyncpay.engine.lsp.effects import Effect
from asyncpay.engine.lsp.events import LspEvent
from asyncpay.engine.lsp.policy import LspPolicy
from asyncpay.engine.lsp.records import Record
from asyncpay.engine.lsp.tables import Tables
from asyncpay.engine.lsp.turn import State, Turn
from asyncpay.lightning import Capabilities


class Lsp:
    """All decisions of one LSP. `records`: what the store holds, messages and memories of them in order.

    ValueError, saying what to set, if the policy cannot work with a node of these capabilities.
    """

    def __init__(self, policy_: LspPolicy, capabilities: Capabilities, records: Iterable[Record] = ()) -> None:
        policy.check(policy_, capabilities)
        self._policy = policy_
        self._capabilities = capabilities
        tables = Tables.load(records)
        messages = max((message.number for message in tables.messages.values()), default=-1)
        self.state = State(tables, newborn=tables.empty, next_message=messages + 1)
        self.next_deadline = -math.inf

    @property
    def stored_time(self) -> float | None:
        """The time, as `handle` takes it, that the store is a witness of; None if nothing is stored."""
        return stored_time.latest(self.state.tables, self._policy)

    def handle(self, now: float, event: LspEvent) -> Transition[Record, Effect]:
        """Decide on one event at `now`, and on everything that has become due by then.

        now: seconds; a clock that never goes back. How Unix time differs from it, ClockRead tells.
        """
        turn = Turn(self.state, self._policy, self._capabilities)
        self.state.unix.advance(now, event)
        if now >= self.next_deadline:
            clock.run(turn)
        dispatch.handle(turn, event)
        self.next_deadline = clock.next_at(turn)
        if now >= self.next_deadline:
            clock.run(turn)
            self.next_deadline = clock.next_at(turn)
        return Transition(tuple(turn.changes), (*turn.answers, *turn.effects))
