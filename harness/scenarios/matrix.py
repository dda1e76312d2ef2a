"""The interop matrix: the async payment for every combination of implementations (interop.py), and what came of it."""

import itertools
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel, ConfigDict

from harness.checks import artifacts
from harness.errors import TestbedError
from harness.pytest_plugin import UNAVAILABLE, evidence_folder
from harness.scenarios.async_payment import ROLES
from harness.testbed import Testbed
from harness.timeline.steps import STEPS
from harness.topology import IMPLEMENTATIONS

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
        return name_of(self.implementations)


def combinations(implementations: tuple[str, ...] = IMPLEMENTATIONS) -> Iterator[dict[str, str]]:
    """All of these implementations, each with a router of one of them after the other."""
    for number, chosen in enumerate(itertools.product(implementations, repeat=len(COMBINED))):
        # By the implementations before it too, so that the router does not simply follow B.
        turn = number + sum(map(implementations.index, chosen))
        router = implementations[turn % len(implementations)]
        yield dict(zip(COMBINED, chosen, strict=True)) | {"router": router}


def name_of(combination: dict[str, str]) -> str:
    """Like `lnd-cln-lnd-lnd`: A, LSP_a, LSP_b, B."""
    return "-".join(combination[role] for role in COMBINED)


def run(
    chosen: Sequence[dict[str, str]],
    folder: Path,
    begins: Callable[[str], None] = lambda _: None,
    ended: Callable[[Cell], None] = lambda _: None,
) -> list[Cell]:
    """Run these combinations one after the other, each on a testbed that is removed again.

    pytest runs interop.py, with the testbed's plugin as in any other suite: timelines and what a failed cell leaves
    behind go into `folder`, and so does matrix.xml (JUnit). begins: is told a cell's name. ended: is given the cell.
    Both run while pytest captures what is printed to sys.stdout and sys.stderr.
    """
    folder = folder.resolve()
    cells = _Cells(chosen, folder, begins, ended)
    here = Path(__file__).parent
    arguments = [
        str(here / "interop.py"),
        *(f"--rootdir={here}", f"-c={os.devnull}"),  # no settings of the folder in which the user happens to be
        *("-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:xdist", "--capture=sys"),
        *(f"--junitxml={folder / 'matrix.xml'}", "-o", "junit_suite_name=interop matrix"),
        f"--testbed-artifacts={folder}",
    ]
    code = pytest.main(arguments, plugins=[cells])
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if len(cells.ended) < len(chosen):
        raise TestbedError(f"the matrix was not run: pytest ended with {pytest.ExitCode(code).name}")
    return cells.ended


class _Cells:
    """Gives interop.py its combinations, and makes a cell of the reports of each."""

    def __init__(
        self,
        chosen: Sequence[dict[str, str]],
        folder: Path,
        begins: Callable[[str], None],
        ended: Callable[[Cell], None],
    ) -> None:
        self.ended: list[Cell] = []
        self._folder = folder
        self._chosen = {name_of(each): each for each in chosen}
        self._begins = begins
        self._tell_ended = ended
        self._seen: dict[str, Any] = {}
        self._evidence: Path | None = None

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        metafunc.parametrize("combination", self._chosen.values(), ids=self._chosen.keys())

    def pytest_runtest_protocol(self, item: pytest.Function) -> None:
        name = item.callspec.id
        self._seen = {"implementations": self._chosen[name], "result": Result.PASSED}
        self._evidence = None
        self._begins(name)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Function, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._seen |= dict(item.user_properties)  # see interop.py: seconds, steps, how
        reason = "" if call.excinfo is None else str(call.excinfo.value)
        if report.skipped:
            self._seen |= {"result": Result.UNAVAILABLE, "failure": reason.removeprefix(UNAVAILABLE)}
        elif report.failed and self._seen["result"] is not Result.FAILED:
            self._seen |= {"result": Result.FAILED, "failure": reason}
        if report.when == "call":
            testbed = cast(Testbed, item.funcargs["testbed"])
            self._evidence = evidence_folder(item, testbed.name)
            if report.passed:  # of what failed the plugin keeps all evidence, this too
                artifacts.write_timeline(testbed, self._evidence)
        return report

    def pytest_runtest_logfinish(self) -> None:
        page = None if self._evidence is None else self._evidence / artifacts.TIMELINE_PAGE
        if page is not None and page.exists():
            self._seen["timeline"] = str(page.relative_to(self._folder))
        self.ended.append(Cell.model_validate(self._seen))
        self._tell_ended(self.ended[-1])


def exit_code(cells: list[Cell], allow_unavailable: bool) -> int:
    """0 if all passed, 1 if one failed, 3 if one was not run (unless that is allowed)."""
    results = {cell.result for cell in cells}
    if Result.FAILED in results:
        return 1
    return 3 if Result.UNAVAILABLE in results and not allow_unavailable else 0
