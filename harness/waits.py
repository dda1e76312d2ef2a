"""Waits: named predicates with a bound; the error has the last observed state.

A predicate returns a description of what is still missing, or None once it holds. So the error of a wait
that timed out says more than "timeout":

    graph_complete not reached in 30 s: router: 1 of 2 announced channels known with both policies
"""

from collections.abc import Callable
from dataclasses import dataclass

import tenacity

from harness.errors import NodeError, TestbedError


class WaitTimeoutError(TestbedError):
    """A predicate did not hold within its bound; the message ends with the last observed state."""

    def __init__(self, name: str, timeout_seconds: float, last_seen: str) -> None:
        super().__init__(f"{name} not reached in {timeout_seconds:g} s; last seen: {last_seen}")
        self.last_seen = last_seen


@dataclass(frozen=True)
class Predicate:
    """A named condition; `missing()` returns a description of what is missing, or None when it holds."""

    name: str
    missing: Callable[[], str | None]


def wait_for(predicate: Predicate, timeout_seconds: float = 30, interval_seconds: float = 0.1) -> None:
    """Return when the predicate holds. A node that does not answer (NodeError) counts as missing.

    interval_seconds: between the first polls; it grows to five times that, because a poll may start a process.
    Raises WaitTimeoutError with the last observed state.
    """

    def missing() -> str | None:
        try:
            return predicate.missing()
        except NodeError as error:
            return str(error)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda seen: seen is not None),
        wait=tenacity.wait_exponential(multiplier=interval_seconds, exp_base=1.2, max=5 * interval_seconds),
        stop=tenacity.stop_after_delay(timeout_seconds),
    )
    try:
        retrying(missing)
    except tenacity.RetryError as error:
        raise WaitTimeoutError(predicate.name, timeout_seconds, error.last_attempt.result()) from None
