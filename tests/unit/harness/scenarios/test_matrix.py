"""The matrix: which cells there are, what they come to, and how they are shown."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.errors import ImageUnavailableError
from harness.scenarios import matrix, matrix_report
from harness.scenarios.matrix import Cell, Result

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


def test_without_an_image_a_cell_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise ImageUnavailableError("there is no image for cln")

    monkeypatch.setattr(matrix.Testbed, "prepare", refuse)
    seen = matrix.run_cell(COMBINATIONS[15], tmp_path, print)
    assert (seen.result, seen.steps, seen.failure) == (Result.UNAVAILABLE, (), "there is no image for cln")


def test_the_pictures_and_the_records_say_the_same(tmp_path: Path) -> None:
    cells = [
        cell(Result.PASSED, 0, seconds=12.5, steps=matrix.ALL_STEPS, how="forwarded"),
        cell(Result.FAILED, 1, seconds=3, steps=(1, 2), failure="B says <nothing>"),
        cell(Result.UNAVAILABLE, 15, failure="no image"),
    ]
    files = matrix_report.write_all(cells, tmp_path)
    assert [file.name for file in files] == ["matrix.svg", "matrix.html", "matrix.json", "matrix.xml"]
    records = json.loads((tmp_path / "matrix.json").read_text())
    assert [(each["name"], each["result"]) for each in records] == [
        ("lnd-lnd-lnd-lnd", "passed"),
        ("lnd-lnd-lnd-cln", "failed"),
        ("cln-cln-cln-cln", "UNAVAILABLE"),
    ]
    suite = ET.fromstring((tmp_path / "matrix.xml").read_text())
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    drawn = (tmp_path / "matrix.svg").read_text()
    colours = [drawn.count(matrix_report.COLOURS[result]) for result in Result]
    assert colours == [1, 1, 1]
    assert "<nothing>" not in (tmp_path / "matrix.html").read_text()
