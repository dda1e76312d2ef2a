"""One turn of the payee's engine: what it knows, and the two lists that it fills while it thinks."""

from dataclasses import dataclass, field

from asyncpay.engine.core import Change, Drop, Put, UnixTime
from asyncpay.engine.node_view import Channels
from asyncpay.engine.payee.effects import Effect, Log
from asyncpay.engine.payee.policy import PayeePolicy
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payee.stages import FINISHED
from asyncpay.wire import messages


@dataclass
class State:
    """What the engine knows. `claims` is stored, by pid; the rest is lost with the process.

    unix: the time of this turn, and Unix time as far as the clock is to be believed.
    height: of the last block heard of, None until the node was attached for the first time.
    released_at: when a claim was last released by this process.
    held_back: pids of claims whose last release waits for the node to follow the chain.
    """

    claims: dict[bytes, Claim]
    unix: UnixTime = field(default_factory=UnixTime)
    attached: bool = False
    height: int | None = None
    channels: Channels = field(default_factory=Channels)
    released_at: dict[bytes, float] = field(default_factory=dict)
    held_back: set[bytes] = field(default_factory=set)

    @property
    def live(self) -> list[Claim]:
        """The claims that are still to be released."""
        return [claim for claim in self.claims.values() if claim.stage not in FINISHED]


@dataclass
class Turn:
    """The handling of one event. Changes show in `state` at once; effects wait until they are stored."""

    state: State
    policy: PayeePolicy
    changes: list[Change[Claim]] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)

    @property
    def claims(self) -> dict[bytes, Claim]:
        """What is or will be stored, by pid."""
        return self.state.claims

    @property
    def now(self) -> float:
        """The time of this turn."""
        return self.state.unix.now

    def put(self, claim: Claim) -> None:
        """Store this record."""
        self.claims[claim.key] = claim
        self.changes.append(Put(claim))

    def drop(self, claim: Claim) -> None:
        """Forget this record."""
        del self.claims[claim.key]
        self.changes.append(Drop(claim))

    def do(self, effect: Effect) -> None:
        """Have this done."""
        self.effects.append(effect)

    def log(self, what: str, pid: bytes, payment_hashes: tuple[bytes, ...], because: str = "") -> None:
        """Leave a line for whoever wants to follow the claim. A pid is a secret: the log has its hash."""
        self.do(Log(what, messages.unblock_hash(pid), payment_hashes, because))
