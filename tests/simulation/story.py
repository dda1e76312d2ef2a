"""A run as a story: what was given, then who did what and when, with the disturbances marked."""

from hashlib import sha256

from coincurve import PrivateKey

from asyncpay.wire.messages import unblock_hash

from .kernel import START
from .play import Outcome
from .world import HASH, PID

FIRST_LINES, LAST_LINES = 80, 20
_NAMES = ("A", "LSP_a", "router", "LSP_b", "B", "C")


def lines(outcome: Outcome) -> list[str]:
    """One line for each thing that happened."""
    given = outcome.schedule.setup.differences()
    told = ["given: " + (", ".join(f"{name}={value!r}" for name, value in given.items()) or "the calmest setup")]
    for at, who, what in outcome.story:
        mark = ">>>" if who == "!" else "   "
        subject = "" if who in ("!", "-") else f"{who}: "
        told.append(f"{mark} {_clock(at - START)}  {subject}{_with_names(what)}")
    if len(told) > FIRST_LINES + LAST_LINES:
        left_out = len(told) - FIRST_LINES - LAST_LINES
        told[FIRST_LINES:-LAST_LINES] = [f"    ... {left_out} lines more ..."]
    if outcome.violation is not None:
        told.append(f"broken: {outcome.violation.rule.replace('_', ' ')}: {_with_names(str(outcome.violation))}")
    return told


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours:02d}:{minutes:02d}:{rest:06.3f}"


def _with_names(text: str) -> str:
    for hexadecimal, name in _HEX.items():
        text = text.replace(hexadecimal, name)
    return text


def _node_id(name: str) -> str:
    key: bytes = PrivateKey(sha256(name.encode()).digest()).public_key.format()
    return key.hex()


_HEX = {_node_id(name): name for name in _NAMES} | {
    HASH.hex(): "HASH",
    PID.hex(): "PID",
    unblock_hash(PID).hex(): "SHA256(PID)",
}
