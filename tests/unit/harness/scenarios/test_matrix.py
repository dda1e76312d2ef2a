"""The matrix: which cells there are, what they come to, and how they are shown."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest

from harness import pytest_plugin
from harness.checks import artifacts
from harness.cli import matrix as cli
from harness.errors import ImageUnavailableError
from harness.pytest_plugin import UNAVAILABLE
from harness.scenarios import async_payment, matrix, matrix_report
from harness.scenarios.async_payment import AsyncPaymentError
from harness.scenarios.matrix import Cell, Result
from harness.timeline.steps import STEPS, Reached
from harness.topology import Topology

COMBINATIONS = list(matrix.combinations(("lnd", "cln")))


def cell(result: Result, number: int = 0, **more: object) -> Cell:
    return Cell.model_validate({"implementations": COMBINATIONS[number], "result": result, **more})


def test_the_page_leads_to_the_timelines_of_its_cells() -> None:
    cells = [cell(Result.PASSED, 0, timeline="lnd-lnd-lnd-lnd/timeline.html"), cell(Result.UNAVAILABLE, 1)]
    page = matrix_report.page(cells)
    assert page.count("<a href") == 1
    assert '<a href="lnd-lnd-lnd-lnd/timeline.html">lnd-lnd-lnd-lnd</a>' in page


def test_every_combination_once_and_both_routers() -> None:
    names = [Cell(implementations=each, result=Result.PASSED).name for each in COMBINATIONS]
    assert len(set(names)) == 16
    routers = [each["router"] for each in COMBINATIONS]
    assert routers.count("lnd") == routers.count("cln") == 8


@pytest.mark.parametrize(
    ("results", "allowed", "code"),
    [
        ([Result.PASSED], False, 0),
        ([Result.PASSED, Result.FAILED], False, 1),
        ([Result.PASSED, Result.UNAVAILABLE], False, 3),
        ([Result.PASSED, Result.UNAVAILABLE], True, 0),
        ([Result.UNAVAILABLE, Result.FAILED], True, 1),
    ],
)
def test_the_exit_code(results: list[Result], allowed: bool, code: int) -> None:
    assert matrix.exit_code([cell(result) for result in results], allowed) == code


class FakeTestbed:
    """As much of a testbed as the test of a cell sees."""

    def __init__(self, name: str) -> None:
        self.name = name

    def lsp(self, _: str) -> SimpleNamespace:
        return SimpleNamespace(events=lambda: [{"what": "claimed"}])


@pytest.fixture
def payments(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Exception | None]]:
    """How each combination's payment ends: interop.py is run without any node."""
    ends: dict[str, Exception | None] = {}

    @contextmanager
    def running_testbed(topology: Topology, config: pytest.Config) -> Iterator[FakeTestbed]:
        name = matrix.name_of({node: spec.implementation for node, spec in topology.nodes.items()})
        if isinstance(ends[name], ImageUnavailableError):
            pytest.skip(UNAVAILABLE + str(ends[name]))
        yield FakeTestbed(name)

    def write_timeline(testbed: FakeTestbed, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / artifacts.TIMELINE_PAGE).write_text(f"the story of {testbed.name}")

    class Payment:
        def __init__(self, testbed: FakeTestbed) -> None:
            self.end = ends[testbed.name]
            self.reached = [Reached(step, "A", 0.0) for step in (STEPS if self.end is None else STEPS[:2])]

        def play(self) -> dict[str, int]:
            if self.end is not None:
                raise self.end
            return {"A": -1001, "LSP_a": 1, "B": 1000}

    monkeypatch.setattr(pytest_plugin, "running_testbed", running_testbed)
    monkeypatch.setattr(async_payment, "AsyncPayment", Payment)
    monkeypatch.setattr(artifacts, "write_timeline", write_timeline)
    sys.modules.pop("harness.scenarios.interop", None)  # so that it imports these
    yield ends
    sys.modules.pop("harness.scenarios.interop", None)


def test_cells_are_what_pytest_reports(payments: dict[str, Exception | None], tmp_path: Path) -> None:
    """And JUnit is pytest's own."""
    ends = [None, AsyncPaymentError("B says <nothing>"), ImageUnavailableError("there is no image for cln")]
    chosen = [COMBINATIONS[0], COMBINATIONS[1], COMBINATIONS[15]]
    payments |= zip(map(matrix.name_of, chosen), ends, strict=True)
    begun: list[str] = []
    told: list[Cell] = []

    cells = matrix.run(chosen, tmp_path / "matrix", begun.append, told.append)

    assert told == cells
    assert begun == [each.name for each in cells] == list(payments)
    assert [(each.result, each.how or each.failure, each.steps) for each in cells] == [
        (Result.PASSED, "LSP_a paid in A's place", matrix.ALL_STEPS),
        (Result.FAILED, "B says <nothing>", (1, 2)),
        (Result.UNAVAILABLE, "there is no image for cln", ()),
    ]
    assert (tmp_path / "matrix" / cells[0].timeline).read_text() == "the story of lnd-lnd-lnd-lnd"
    (suite,) = ET.fromstring((tmp_path / "matrix" / "matrix.xml").read_text())
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")


def test_the_pictures_and_the_records_say_the_same(tmp_path: Path) -> None:
    cells = [
        cell(Result.PASSED, 0, seconds=12.5, steps=matrix.ALL_STEPS, how="forwarded"),
        cell(Result.FAILED, 1, seconds=3, steps=(1, 2), failure="B says <nothing>"),
        cell(Result.UNAVAILABLE, 15, failure="no image"),
    ]
    files = matrix_report.write_all(cells, tmp_path)
    assert [file.name for file in files] == ["matrix.svg", "matrix.html", "matrix.json"]
    records = json.loads((tmp_path / "matrix.json").read_text())
    assert [(each["name"], each["result"]) for each in records] == [
        ("lnd-lnd-lnd-lnd", "passed"),
        ("lnd-lnd-lnd-cln", "failed"),
        ("cln-cln-cln-cln", "UNAVAILABLE"),
    ]
    drawn = (tmp_path / "matrix.svg").read_text()
    colours = [drawn.count(matrix_report.COLOURS[result]) for result in Result]
    assert colours == [1, 1, 1]
    assert "<nothing>" not in (tmp_path / "matrix.html").read_text()


def test_an_interrupted_matrix_keeps_the_results_so_far(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(chosen: object, folder: Path, begins: Callable[[str], None], ended: Callable[[Cell], None]) -> None:
        ended(cell(Result.PASSED, 0, seconds=2.5))
        ended(cell(Result.FAILED, 1, failure="graph_complete not reached in 60 s"))
        raise KeyboardInterrupt

    monkeypatch.setattr(matrix, "run", interrupted)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        cli.run(folder=tmp_path)
    records = json.loads((tmp_path / "matrix.json").read_text())
    assert [(each["name"], each["result"]) for each in records] == [
        ("lnd-lnd-lnd-lnd", "passed"),
        ("lnd-lnd-lnd-cln", "failed"),
    ]
    assert "lnd-lnd-lnd-cln failed: graph_complete not reached in 60 s" in capsys.readouterr().err
