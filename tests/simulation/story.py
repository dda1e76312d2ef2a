"""A run as a story: what was given, then who did what and when, with the disturbances marked."""

from .kernel import START
from .play import Outcome


def lines(outcome: Outcome) -> list[str]:
    """One line for each thing that happened."""
    given = outcome.schedule.setup.differences()
    told = ["given: " + (", ".join(f"{name}={value!r}" for name, value in given.items()) or "the calmest setup")]
    for at, who, what in outcome.story:
        mark = ">>>" if who == "!" else "   "
        subject = "" if who in ("!", "-") else f"{who}: "
        told.append(f"{mark} {_clock(at - START)}  {subject}{what}")
    if outcome.violation is not None:
        told.append(f"broken: {outcome.violation.rule.replace('_', ' ')}: {outcome.violation}")
    return told


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours:02d}:{minutes:02d}:{rest:06.3f}"
