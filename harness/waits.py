"""Waiting: named predicates with a bound, and what was last seen when the bound is reached.

A predicate answers with what is still missing, in words, or None once nothing is. So the error of a wait
that ran out says more than "timeout":

    graph_complete not reached in 30 s: router: 1 of 2 announced channels known with both policies
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tenacity

from harness.errors import NodeError, TestbedError
from harness.lsp import Lsp
from harness.nodes.base import Node


class WaitTimeoutError(TestbedError):
    """A predicate was not reached within its bound; the message ends with what was last seen."""


@dataclass(frozen=True)
class Predicate:
    """A condition with a name; `missing()` says what it lacks, None when it holds."""

    name: str
    missing: Callable[[], str | None]


def wait_for(predicate: Predicate, timeout_seconds: float = 30, interval_seconds: float = 0.1) -> None:
    """Return when the predicate holds. A node that does not answer (NodeError) counts as missing.

    Raises WaitTimeoutError with the last thing seen.
    """

    def missing() -> str | None:
        try:
            return predicate.missing()
        except NodeError as error:
            return str(error)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda seen: seen is not None),
        wait=tenacity.wait_fixed(interval_seconds),
        stop=tenacity.stop_after_delay(timeout_seconds),
    )
    try:
        retrying(missing)
    except tenacity.RetryError as error:
        seen = error.last_attempt.result()
        raise WaitTimeoutError(f"{predicate.name} not reached in {timeout_seconds:g} s; last seen: {seen}") from None


def no_htlcs(nodes: Sequence[Node]) -> Predicate:
    """No channel of these nodes has an HTLC in flight: every payment has ended, on every hop."""

    def missing() -> str | None:
        for node in nodes:
            if htlcs := sum(channel.htlcs for channel in node.channels()):
                return f"{node.name} has {htlcs} HTLC in flight"
        return None

    return Predicate("no_htlcs", missing)


def interceptor_attached(lsp: Lsp) -> Predicate:
    """The LSP's component has its node, which forwards HTLCs from now on."""
    return Predicate("interceptor_attached", lsp.missing_to_be_attached)


def htlcs_held(lsp: Lsp, parts: int) -> Predicate:
    """The LSP holds exactly this many HTLCs under blocks: on offer by its node, and not answered."""

    def missing() -> str | None:
        held = sum(
            part["on_offer"] and part["verdict"] is None for block in lsp.status()["blocks"] for part in block["parts"]
        )
        return None if held == parts else f"{lsp.name} holds {held} of {parts} HTLCs"

    return Predicate("htlcs_held", missing)
