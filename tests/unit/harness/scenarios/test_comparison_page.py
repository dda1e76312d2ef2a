"""The comparison's tables and picture, and the page that they are drawn into."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.scenarios import comparison_page
from harness.scenarios.comparison import CASES, PLAIN, ComparisonError, Run, _middle
from harness.scenarios.comparison_page import BEGIN, END, Measured, Row, main, picture, tables

DOCS = Path(__file__).parents[4] / "docs"


def row(case: str = PLAIN, **fields: object) -> Row:
    return vars(Run(case, paid=True, a_seconds=0.5, b_seconds=1.25, a_again_seconds=1, hold_blocks=9)) | fields


def test_each_case_says_how_it_ended_for_both_designs() -> None:
    lost = row("message-lost", paid=False, b_seconds=None, blocks=236, note="B is online, and does not get it")
    late = row("message-lost", b_seconds=None)
    designs: Measured = {
        "asyncpay": {PLAIN: row(messages=11), "message-lost": late},
        "ldk-native": {PLAIN: row(), "message-lost": lost},
    }
    drawn = tables("2026-11-27", designs).splitlines()
    assert "| onion messages from node to node | 11 | not measured |" in drawn
    ended = {line.split(" | ")[0]: line.split(" | ", 1)[1] for line in drawn[-len(CASES) :]}
    whats = {case.name: f"| {case.what}" for case in CASES}
    assert ended[whats[PLAIN]] == "paid, 1.25 s after B is back | paid, 1.25 s after B is back |"
    unpaid = "returned to A after 236 blocks; B is online, and does not get it"
    assert ended[whats["message-lost"]] == f"paid once A is back | {unpaid} |"
    assert ended[whats["asleep"]] == "not run | not run |"


def test_the_picture_has_a_box_for_each_and_says_in_colour_what_was_paid() -> None:
    designs = {"asyncpay": {case.name: row(case.name) for case in CASES}, "ldk-native": {}}
    boxes = ET.fromstring(picture(designs)).findall(".//{http://www.w3.org/2000/svg}rect")
    fills = [box.get("fill") for box in boxes]
    assert fills == [comparison_page.PAID_COLOUR, comparison_page.UNKNOWN_COLOUR] * len(CASES)


def test_of_several_runs_the_medians_are_kept_and_another_outcome_is_an_error() -> None:
    runs = [Run(PLAIN, paid=True, a_seconds=seconds) for seconds in (9.0, 1.0, 2.0)]
    assert _middle(runs)["a_seconds"] == 2.0
    with pytest.raises(ComparisonError):
        _middle([*runs, Run(PLAIN, paid=False)])


def test_the_page_in_docs_is_what_was_measured(tmp_path: Path) -> None:
    copy = tmp_path / "comparison.md"
    copy.write_text((DOCS / "comparison.md").read_text())
    assert main([str(DOCS / "comparison.json"), str(copy)]) == 0
    assert copy.read_text() == (DOCS / "comparison.md").read_text()
    assert copy.with_suffix(".svg").read_text() == (DOCS / "comparison.svg").read_text()


def test_a_page_without_the_marks_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, page = tmp_path / "measured.json", tmp_path / "page.md"
    designs = {name: {PLAIN: row()} for name in comparison_page.NAMES}
    file.write_text(json.dumps({"measured_at": "2026-11-27", "designs": designs}))
    page.write_text("nothing\n")
    assert main([str(file), str(page)]) == 1
    assert "has lost the lines" in capsys.readouterr().err
    assert page.read_text() == "nothing\n"
    page.write_text(f"before\n{BEGIN}the last one\n{END}after\n")
    assert main([str(file), str(page)]) == 0
    assert page.read_text() == f"before\n{BEGIN}{tables('2026-11-27', designs)}{END}after\n"
