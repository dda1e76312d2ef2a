"""Moving a claim through its stages, and forgetting the oldest that have ended."""

from dataclasses import replace

from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payee.stages import FINISHED, TRANSITIONS, Trigger
from asyncpay.engine.payee.turn import Turn


def advance(turn: Turn, claim: Claim, trigger: Trigger) -> bool:
    """Let `trigger` happen to a claim. False if it means nothing in the claim's stage (see stages.py)."""
    stage = TRANSITIONS[claim.stage].get(trigger)
    if stage is None:
        return False
    turn.put(replace(claim, stage=stage, next_at=None))
    turn.log(stage.value, claim.pid, claim.payment_hashes, because=trigger.value)
    turn.state.released_at.pop(claim.pid, None)
    turn.state.held_back.discard(claim.pid)
    forget_oldest(turn)
    return True


def past_its_height(turn: Turn, release_by_height: int) -> bool:
    """Whether the chain has passed the block's last height; that height still counts."""
    return turn.state.height is not None and turn.state.height > release_by_height


def forget_oldest(turn: Turn) -> None:
    """Keep no more finished claims than may be remembered."""
    finished = [claim for claim in turn.claims.values() if claim.stage in FINISHED]
    finished.sort(key=lambda claim: (claim.proven, claim.announced_at))
    for claim in finished[: max(0, len(finished) - turn.policy.max_remembered)]:
        turn.drop(claim)
