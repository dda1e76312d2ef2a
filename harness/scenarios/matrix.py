"""The interop matrix: the main job of the protocol for every combination of implementations."""

import itertools
import time
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from harness import bringup
from harness.checks import artifacts
from harness.errors import ImageUnavailableError, TestbedError
from harness.progress import Phases
from harness.scenarios.async_payment import ROLES, AsyncPayment
from harness.testbed import Testbed
from harness.timeline.steps import STEPS, Reached
from harness.topology import IMPLEMENTATIONS, load

COMBINED = (ROLES.payer, ROLES.payer_lsp, ROLES.payee_lsp, ROLES.payee)
"""Whose implementations are combined; the router's alternates."""
ALL_STEPS = tuple(step.number for step in STEPS)


class Result(Enum):
    """How a cell ended. UNAVAILABLE: an image that it needs cannot be had on this machine; it was not run."""

    PASSED = "passed"
    FAILED = "failed"
    UNAVAILABLE = "UNAVAILABLE"


class Cell(BaseModel):
    """One combination. steps: those of the protocol that were reached. how: how LSP_a let the payment go while A was
    away, which differs by what its node can do. seconds: of the payment alone, from the invoice to the counted money.
    timeline: the page with its story, as a path below the matrix's folder.
    """

    model_config = ConfigDict(frozen=True)

    implementations: dict[str, str]
    result: Result
    seconds: float = 0
    steps: tuple[int, ...] = ()
    how: str = ""
    failure: str = ""
    timeline: str = ""

    @property
    def name(self) -> str:
        """Like `lnd-cln-lnd-lnd`: A, LSP_a, LSP_b, B."""
        return "-".join(self.implementations[role] for role in COMBINED)


def combinations(implementations: tuple[str, ...] = IMPLEMENTATIONS) -> Iterator[dict[str, str]]:
    """All of these implementations, each with a router of one of them after the other."""
    for number, chosen in enumerate(itertools.product(implementations, repeat=len(COMBINED))):
        # By the implementations before it too, so that the router does not simply follow B.
        turn = number + sum(map(implementations.index, chosen))
        router = implementations[turn % len(implementations)]
        yield dict(zip(COMBINED, chosen, strict=True)) | {"router": router}


def run_cell(implementations: dict[str, str], folder: Path, report: Callable[[str], None]) -> Cell:
    """Play the main job on a testbed of this combination, which is removed again. It leaves its timeline, a failure all
    evidence.
    """
    topology = load("line", implementations)
    cell = Cell(implementations=implementations, result=Result.PASSED)
    try:
        testbed = Testbed.prepare(topology, f"matrix-{cell.name}", report)
    except ImageUnavailableError as error:
        return cell.model_copy(update={"result": Result.UNAVAILABLE, "failure": str(error)})
    job: AsyncPayment | None = None
    began = time.monotonic()
    try:
        bringup.up(testbed, Phases(lambda phase: report(f"{cell.name}: {phase}")))
        report(f"{cell.name}: paying")
        began = time.monotonic()
        job = AsyncPayment(testbed)
        job.play()
        seen = {"seconds": round(time.monotonic() - began, 1), "how": _how(testbed, job.reached)}
        artifacts.write_timeline(testbed, folder / cell.name)
    except (TestbedError, AssertionError) as error:
        artifacts.collect(testbed, folder / cell.name)
        seen = {"result": Result.FAILED, "seconds": round(time.monotonic() - began, 1), "failure": str(error)}
    finally:
        testbed.down()
    if (folder / cell.name / artifacts.TIMELINE_PAGE).exists():
        seen["timeline"] = f"{cell.name}/{artifacts.TIMELINE_PAGE}"
    reached = () if job is None else tuple(sorted(each.step.number for each in job.reached))
    return cell.model_copy(update=seen | {"steps": reached})


def _how(testbed: Testbed, reached: list[Reached]) -> str:
    """How LSP_a let the payment go while A was away, from its own journal."""
    done = {event["what"] for event in testbed.lsp(ROLES.payer_lsp).events()}
    if "claimed" in done:
        return "LSP_a paid in A's place"
    if any(push.method == "async_payments.settlement_pending" for push in testbed.push.pushes(ROLES.payer)):
        return "forwarded, A called for its preimage"
    return "forwarded while A was away"


def exit_code(cells: list[Cell], allow_unavailable: bool) -> int:
    """0 if all passed, 1 if one failed, 3 if one was not run (unless that is allowed)."""
    results = {cell.result for cell in cells}
    if Result.FAILED in results:
        return 1
    return 3 if Result.UNAVAILABLE in results and not allow_unavailable else 0
