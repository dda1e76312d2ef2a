"""Moving a claim through its stages, and forgetting the oldest that have ended."""

import math
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
    forget_oldest(turn)
    return True


def over(turn: Turn, release_by_height: int, hold_until: int) -> str | None:
    """Which deadline of a block has passed, if any; for people. Its last height and second still count."""
    height = turn.state.height
    if height is not None and height > release_by_height:
        return f"it was to be released by height {release_by_height}, the chain is at {height}"
    if math.floor(turn.now) > hold_until:
        return f"it was held until {hold_until} (Unix time)"
    return None


def forget_oldest(turn: Turn) -> None:
    """Keep no more finished claims than may be remembered."""
    finished = [claim for claim in turn.claims.values() if claim.stage in FINISHED]
    finished.sort(key=lambda claim: claim.announced_at)
    for claim in finished[: max(0, len(finished) - turn.policy.max_remembered)]:
        turn.drop(claim)
