"""When a block is over, and a payment that has not begun must end with it."""

import math

from asyncpay.engine.payer import progress
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.stages import UNPAID, Trigger
from asyncpay.engine.payer.turn import Turn


def run(turn: Turn, payment: OutgoingPayment) -> None:
    """End a payment whose time is over before anything has left."""
    if progress.over(turn, payment):
        progress.advance(turn, payment, Trigger.DEADLINE, "its time was over before anything could be paid")


def next_at(turn: Turn, payment: OutgoingPayment) -> float:
    """When `run` has something to do, if no block comes before."""
    return turn.state.unix.past_at(payment.hold_until) if payment.stage in UNPAID else math.inf
