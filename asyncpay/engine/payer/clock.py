"""What is due at this time and height, and when to look again."""

import math
from collections.abc import Callable

from asyncpay.engine.payer import asking, calling_off, deadlines, handing_over, paying
from asyncpay.engine.payer.records import OutgoingPayment
from asyncpay.engine.payer.turn import Turn

_DUTIES: tuple[Callable[[Turn, OutgoingPayment], None], ...] = (
    deadlines.run,
    asking.run,
    paying.run,
    handing_over.run,
    calling_off.run,  # last, because the others may call a payment off
)
_TIMES: tuple[Callable[[Turn, OutgoingPayment], float], ...] = (
    deadlines.next_at,
    asking.next_at,
    paying.next_at,
    handing_over.next_at,
    calling_off.next_at,
)


def run(turn: Turn) -> None:
    """Do everything that is due."""
    for payment in turn.payments.live():
        for duty in _DUTIES:
            duty(turn, turn.payments[payment.key])


def next_at(turn: Turn) -> float:
    """The earliest time at which `run` has something to do, if nothing happens before; infinity for never."""
    return min((time(turn, each) for each in turn.payments.live() for time in _TIMES), default=math.inf)
