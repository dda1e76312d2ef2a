"""The state of the payee's engine, and the handling of one event."""

import math
from dataclasses import dataclass, field, replace

from asyncpay.engine.context import EngineState, EventContext
from asyncpay.engine.core import Drop, Put
from asyncpay.engine.indexes import Deadlines
from asyncpay.engine.payee.interface import Effect, Log
from asyncpay.engine.payee.records import Claim, ClaimRecords
from asyncpay.engine.payee.states import TRANSITIONS, Trigger
from asyncpay.engine.policy import PayeePolicy
from asyncpay.log_events import LogEvent
from asyncpay.wire import messages


@dataclass
class Schedule:
    """When to process each live claim again, by pid.

    release_at: its release is due (again). Without a usable channel the parts could not arrive: then it waits for one.
    ends_at: all its releases are used up, and it ends unless the last one is answered before.
    by_release_height: the last height at which it can be released.
    """

    release_at: Deadlines[bytes] = field(default_factory=Deadlines)
    ends_at: Deadlines[bytes] = field(default_factory=Deadlines)
    by_release_height: Deadlines[bytes] = field(default_factory=Deadlines)


@dataclass
class PayeeState(EngineState):
    """The state of the engine. `claims` is stored; everything else is lost with the process.

    released_at: when this process last sent the release of a claim.
    held_back: pids of claims whose last release waits until the node is synced to the chain.
    """

    claims: ClaimRecords
    schedule: Schedule = field(default_factory=Schedule)
    released_at: dict[bytes, float] = field(default_factory=dict)
    held_back: dict[bytes, None] = field(default_factory=dict)


@dataclass
class Context(EventContext[PayeeState, PayeePolicy, Claim, Effect]):
    """The handling of one event. Changes apply to `state` immediately; effects wait until the changes are stored."""

    @property
    def claims(self) -> ClaimRecords:
        """The claims, including changes that are not stored yet."""
        return self.state.claims

    def put(self, claim: Claim) -> None:
        """Store this record."""
        self.claims.put(claim)
        self.reschedule(claim)
        self.changes.append(Put(claim))

    def log(self, what: LogEvent, pid: bytes, payment_hashes: tuple[bytes, ...], because: str = "") -> None:
        """Write a log line about the claim. A pid is a secret: the log shows its hash."""
        self.emit(Log(what, messages.unblock_hash(pid), payment_hashes, because))

    def advance(self, claim: Claim, trigger: Trigger) -> bool:
        """Apply `trigger` to a claim. Return False if the claim's state ignores it (see states.py)."""
        state = TRANSITIONS[claim.state].get(trigger)
        if state is None:
            return False
        self.put(replace(claim, state=state, next_at=None))
        self.log(LogEvent(state.value), claim.pid, claim.payment_hashes, because=trigger.value)
        self.state.released_at.pop(claim.pid, None)
        self.state.held_back.pop(claim.pid, None)
        self.forget_oldest()
        return True

    def forget_oldest(self) -> None:
        """Delete finished claims beyond the policy's maximum."""
        for claim in self.claims.excess(self.policy.max_remembered):
            self.claims.drop(claim)
            self.changes.append(Drop(claim))

    def reschedule(self, claim: Claim) -> None:
        """Bring the schedule up to date for one claim."""
        schedule, resting = self.state.schedule, claim.is_live and claim.next_at is None
        schedule.release_at.set(claim.pid, math.inf if claim.next_at is None or not claim.is_live else claim.next_at)
        schedule.ends_at.set(claim.pid, self._ends_at(claim) if resting else math.inf)
        schedule.by_release_height.set(claim.pid, claim.release_by_height if claim.is_live else math.inf)

    def reschedule_resting(self) -> None:
        """Bring the schedule up to date after a ClockRead: claims whose releases are used up end by Unix time."""
        for pid in self.state.schedule.ends_at.due(math.inf):
            self.reschedule(self.claims[pid])

    def _ends_at(self, resting: Claim) -> float:
        last = self.state.released_at.get(resting.pid, -math.inf)
        return max(self.state.unix.past_at(resting.hold_until), last + self.policy.release_most_seconds)
