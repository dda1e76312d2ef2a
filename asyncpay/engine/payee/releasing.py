"""Asking the payer's LSP to let the parts go: again and again, while the node could take them.

The clock alone ends no claim: past hold_until it is asked for as often as before, and the LSP says if it is too
late. A claim whose time is over ends once all its releases are used up and none was answered so.
"""

import math
from dataclasses import replace

from asyncpay.engine.core import backoff_seconds
from asyncpay.engine.payee import progress
from asyncpay.engine.payee.effects import SendRelease
from asyncpay.engine.payee.events import ReleaseAnswered, ReleaseHeldBack
from asyncpay.engine.payee.records import Claim
from asyncpay.engine.payee.stages import Stage, Trigger
from asyncpay.engine.payee.turn import Turn
from asyncpay.wire import messages
from asyncpay.wire.messages import ReleaseStatus


def run(turn: Turn) -> None:
    """Release what is due, end what is over. Both wait for the node: it may know that a claim is paid."""
    if not turn.state.attached:
        return
    for claim in turn.state.live:
        if _is_over(turn, claim):
            progress.advance(turn, claim, Trigger.DEADLINE)
        elif _due_at(turn, claim) <= turn.now:
            _release(turn, claim)


def next_at(turn: Turn) -> float:
    """When `run` has something to do, if no block and no channel comes before."""
    if not turn.state.attached:
        return math.inf
    return min(
        (_over_at(turn, claim) if claim.next_at is None else _due_at(turn, claim) for claim in turn.state.live),
        default=math.inf,
    )


def answered(turn: Turn, event: ReleaseAnswered) -> None:
    """The payer's side says what a release has done. Only the node knows whether the money has come."""
    reply = event.message
    claim = next((each for each in turn.claims.values() if messages.unblock_hash(each.pid) == reply.unblock_hash), None)
    if claim is None:
        return
    turn.log("release answered", claim.pid, claim.payment_hashes, because=reply.status.name)
    if reply.status is ReleaseStatus.TOO_LATE:
        progress.advance(turn, claim, Trigger.TOO_LATE)


def _is_over(turn: Turn, claim: Claim) -> bool:
    if progress.past_its_height(turn, claim.release_by_height):
        return True
    return claim.next_at is None and turn.now >= _over_at(turn, claim)


def _over_at(turn: Turn, claim: Claim) -> float:
    """When a claim without further releases ends, unless the last one is answered before."""
    last = turn.state.released_at.get(claim.pid, -math.inf)
    return max(turn.state.unix.past_at(claim.hold_until), last + turn.policy.release_most_seconds)


def held_back(turn: Turn, event: ReleaseHeldBack) -> None:
    """The node was not ready: that counts as no try, and it is tried again until it is, or the claim is over."""
    claim = turn.claims.get(event.pid)
    if claim is not None and claim.stage is Stage.RELEASING:
        turn.state.held_back.add(claim.pid)
        again = turn.now + turn.policy.unsynced_seconds
        turn.put(replace(claim, tries=max(0, claim.tries - 1), next_at=again))


def try_held_back(turn: Turn) -> None:
    """A block has come: the node may be ready now."""
    for pid in turn.state.held_back:
        turn.put(replace(turn.claims[pid], next_at=turn.now))
    turn.state.held_back.clear()


def _release(turn: Turn, claim: Claim) -> None:
    tries = claim.tries + 1
    pause = backoff_seconds(turn.policy.release_seconds, turn.policy.release_most_seconds, claim.tries)
    released = replace(claim, tries=tries, next_at=turn.now + pause if tries < turn.policy.max_releases else None)
    turn.put(released)
    turn.state.released_at[claim.pid] = turn.now
    turn.do(SendRelease(released))


def _due_at(turn: Turn, claim: Claim) -> float:
    """Without a channel the parts could not come: then it is due as soon as there is one."""
    return claim.next_at if claim.next_at is not None and turn.state.channels.any_usable else math.inf
