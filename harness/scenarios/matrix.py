"""The interop matrix: the async payment for every combination of implementations (interop.py), and its results."""

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
from harness.pytest_plugin import UNAVAILABLE, artifacts_folder
from harness.scenarios.async_payment import ROLES
from harness.testbed import Testbed
from harness.timeline.steps import STEPS
from harness.topology import IMPLEMENTATIONS

COMBINED = (ROLES.payer, ROLES.payer_lsp, ROLES.payee_lsp, ROLES.payee)
"""The nodes whose implementations are combined; the router's implementation alternates."""
ALL_STEPS = tuple(step.number for step in STEPS)


class Result(Enum):
    """The result of a cell. UNAVAILABLE: not run, because an image that it needs is not available on this machine."""

    PASSED = "passed"
    FAILED = "failed"
    UNAVAILABLE = "UNAVAILABLE"


class Cell(BaseModel):
    """One combination. steps: the protocol's steps that were reached. how: how LSP_a released the payment while A was
    offline, which depends on its node's capabilities. seconds: of the payment only, from the invoice to the checked
    balances. timeline: the page with its timeline, as a path relative to the matrix's folder.
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
        """The implementations of A, LSP_a, LSP_b, B, such as `lnd-cln-lnd-lnd`."""
        return name_of(self.implementations)


def combinations(implementations: tuple[str, ...] = IMPLEMENTATIONS) -> Iterator[dict[str, str]]:
    """Yield all combinations of these implementations; the router's implementation alternates."""
    for number, chosen in enumerate(itertools.product(implementations, repeat=len(COMBINED))):
        # Count the implementations before it too, so that the router's does not simply follow B's.
        turn = number + sum(map(implementations.index, chosen))
        router = implementations[turn % len(implementations)]
        yield dict(zip(COMBINED, chosen, strict=True)) | {"router": router}


def name_of(combination: dict[str, str]) -> str:
    """The implementations of A, LSP_a, LSP_b, B, such as `lnd-cln-lnd-lnd`."""
    return "-".join(combination[role] for role in COMBINED)


def run(
    chosen: Sequence[dict[str, str]],
    folder: Path,
    begins: Callable[[str], None] = lambda _: None,
    ended: Callable[[Cell], None] = lambda _: None,
) -> list[Cell]:
    """Run these combinations one after the other, each on a testbed that is removed afterwards.

    pytest runs interop.py, with the testbed's plugin as in any other suite: timelines and the artifacts of failed cells
    are written to `folder`, and so is matrix.xml (JUnit). begins: called with a cell's name. ended: called with the
    cell. Both run while pytest captures sys.stdout and sys.stderr.
    """
    folder = folder.resolve()
    cells = _Cells(chosen, folder, begins, ended)
    here = Path(__file__).parent
    arguments = [
        str(here / "interop.py"),
        *(f"--rootdir={here}", f"-c={os.devnull}"),  # ignore the settings in the current folder
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
    """A pytest plugin that parametrizes interop.py, and makes a cell from each test's reports."""

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
        self._artifacts: Path | None = None

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        metafunc.parametrize("combination", self._chosen.values(), ids=self._chosen.keys())

    def pytest_runtest_protocol(self, item: pytest.Function) -> None:
        name = item.callspec.id
        self._seen = {"implementations": self._chosen[name], "result": Result.PASSED}
        self._artifacts = None
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
            self._artifacts = artifacts_folder(item, testbed.name)
            if report.passed:  # the plugin saves this, too, if the test failed
                artifacts.write_timeline(testbed, self._artifacts)
        return report

    def pytest_runtest_logfinish(self) -> None:
        page = None if self._artifacts is None else self._artifacts / artifacts.TIMELINE_PAGE
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
