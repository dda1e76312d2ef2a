"""The table of scenarios, and the page that it is drawn into."""

from pathlib import Path

import pytest

from harness.checks import scenario_table
from harness.checks.scenario_table import Scenario

RUN = [
    Scenario("timeouts", "never", {"block": 2}, ["returned in full"], 1.6),
    Scenario("MPP", "both", {}, ["paid once", "returned in full"], 2.0),
    Scenario("MPP", "broken", {"SIGKILL wallet": 1}, ["FAILED"], 3.0),
    Scenario("MPP", "absent", {}, ["not run"], 0.0),
    Scenario("chain", "claimed", {"block": 1}, ["claimed on chain"], 4.0),
]


def test_a_row_for_each_family_and_a_column_for_each_outcome(tmp_path: Path) -> None:
    scenario_table.write(tmp_path / "new" / "run.json", RUN)
    first, _, *table, _, last = scenario_table.draw((tmp_path / "new" / "run.json").read_text()).splitlines()
    assert first.endswith("5 scenarios, 4 faults injected.")
    assert table == [
        "| family | scenarios | faults | paid once | returned in full | refused | claimed on chain | FAILED | not run "
        "| seconds |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        "| MPP | 3 | 1 | 1 | 1 | 0 | 0 | 1 | 1 | 5 |",
        "| chain | 1 | 1 | 0 | 0 | 0 | 1 | 0 | 0 | 4 |",
        "| timeouts | 1 | 2 | 0 | 1 | 0 | 0 | 0 | 0 | 2 |",
        "| **all** | 5 | 4 | 1 | 2 | 0 | 1 | 1 | 1 | 11 |",
    ]
    assert last == "Faults: SIGKILL wallet (1), block (3)."


def test_a_scenario_played_again_takes_the_place_of_the_earlier_one(tmp_path: Path) -> None:
    run = tmp_path / "run.json"
    scenario_table.write(run, RUN)
    scenario_table.write(run, [Scenario("MPP", "broken", {"SIGKILL wallet": 1}, ["paid once"], 4.0)])
    assert "| MPP | 3 | 1 | 2 | 1 | 0 | 0 | 0 | 1 | 6 |" in scenario_table.draw(run.read_text()).splitlines()
    assert "5 scenarios" in scenario_table.draw(run.read_text())


def test_the_table_takes_the_place_of_the_last_one(tmp_path: Path) -> None:
    run, page = tmp_path / "run.json", tmp_path / "README.md"
    scenario_table.write(run, RUN)
    page.write_text(f"before\n{scenario_table.BEGIN}the last one\n{scenario_table.END}after\n")
    for _ in range(2):
        assert scenario_table.main([str(run), str(page)]) == 0
    drawn = scenario_table.draw(run.read_text())
    assert page.read_text() == f"before\n{scenario_table.BEGIN}{drawn}{scenario_table.END}after\n"


def test_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, page = tmp_path / "run.json", tmp_path / "README.md"
    page.write_text("a page without a place for it\n")
    assert scenario_table.main([str(run), str(page)]) == 1
    assert "make test-e2e" in capsys.readouterr().err
    scenario_table.write(run, RUN)
    assert scenario_table.main([str(run), str(page)]) == 1
    assert "lacks the lines" in capsys.readouterr().err
    assert page.read_text() == "a page without a place for it\n"
