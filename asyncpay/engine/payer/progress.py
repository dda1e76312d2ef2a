"""Moving a payment through its stages, and what follows from that for its block."""

from dataclasses import replace

from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.stages import CALLED_OFF, ENDS_BLOCK, FINISHED, TRANSITIONS, Stage, Trigger
from asyncpay.engine.payer.turn import Turn


def advance(turn: Turn, payment: OutgoingPayment, trigger: Trigger, failure: str = "") -> bool:
    """Let `trigger` happen to a payment. False if it means nothing in the payment's stage (see stages.py).

    failure: for people, where the payment fails by this.
    """
    stage = TRANSITIONS[payment.stage].get(trigger)
    if stage is None:
        return False
    moved = replace(
        payment,
        stage=stage,
        begun=payment.begun or stage is Stage.PAYING,
        requests_sent=0 if stage is Stage.PAYING else payment.requests_sent,
        request_next_at=turn.now + turn.policy.request_seconds if stage is Stage.PAYING else None,
        failure=failure or payment.failure,
        ended_at=turn.now if stage in FINISHED else None,
    )
    if trigger in CALLED_OFF and moved.cancel_next_at is None:
        moved = replace(moved, cancel_next_at=turn.now)
    turn.put(moved)
    if stage in FINISHED:
        turn.state.ask_at.pop(payment.key, None)
        turn.state.ordered_again.discard(payment.key)
        turn.state.pending_at.pop(payment.key, None)
        turn.state.pending_repeats.pop(payment.key, None)
    turn.log(stage.value, payment.key, because=failure or trigger.value)
    return True


def block_stands(turn: Turn, payment: OutgoingPayment) -> bool:
    """Whether the LSP may be holding, or going to hold, parts of this payment."""
    return payment.told not in ENDS_BLOCK and not over(turn, payment)


def over(turn: Turn, payment: OutgoingPayment) -> bool:
    """Whether the block has passed one of its deadlines; the LSP then ends it by itself."""
    height = turn.state.height
    past = turn.state.unix.surely_past(payment.hold_until)
    return past or (height is not None and height > payment.release_by_height)
