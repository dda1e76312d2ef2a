"""Two runs side by side: what differed, and nothing else."""

import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asyncpay.terminal import SafeConsole
from harness.cli import common
from harness.cli.main import app
from harness.timeline import compare, recording, select
from harness.timeline.model import Event, Kind, Payment, Timeline
from harness.timeline.story import tell

RECORDINGS = Path(__file__).parent / "recordings"
HASH = "ab" * 32


def told(name: str) -> Timeline:
    story = tell(recording.read(RECORDINGS / name))
    return select.of_payment(story, select.payment_of(story, None))


def test_a_run_does_not_differ_from_itself() -> None:
    found = compare.compare(told("lnd"), told("lnd")).as_json()
    assert found["differences"] == []
    assert found["alike"] == len(told("lnd").events)
    assert [step["one_seconds"] for step in found["steps"]] == [step["other_seconds"] for step in found["steps"]]


def test_lnd_pays_on_behalf_where_core_lightning_forwards() -> None:
    found = compare.compare(told("lnd"), told("mixed")).as_json()
    assert {(each["lane"], each["one"], each["other"]) for each in found["implementations"]} == {
        ("LSP_a", "lnd", "cln"),
        ("LSP_b", "lnd", "cln"),
        ("B", "lnd", "cln"),
    }
    only_first = [each["one"]["what"] for each in found["differences"] if each["why"] == "only in the first"]
    only_second = [each["other"]["what"] for each in found["differences"] if each["why"] == "only in the second"]
    assert "pay on behalf" in only_first
    assert "released" in only_second
    assert None not in [step["one_seconds"] for step in found["steps"]]


def run(*events: tuple[float, str, str]) -> Timeline:
    made = tuple(
        Event(time=time, lane="A", kind=Kind.DECISION, what=what, because=because, payment_hashes=(HASH,))
        for time, what, because in events
    )
    payment = Payment(payment_hash=HASH, first=made[0].time, last=made[-1].time)
    return Timeline(testbed="x", payments=(payment,), events=made)


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (((100, "a", ""), (101, "b", "x")), []),
        (((100, "a", ""), (101, "b", "y")), ["another reason"]),
        (((100, "a", ""), (104, "b", "x")), ["3.0 s later in the second"]),
        (((100, "a", ""), (100.5, "c", ""), (101, "b", "x")), ["only in the second"]),
        (((100, "a", ""), (101, "c", "")), ["only in the first", "only in the second"]),
    ],
)
def test_what_differs_is_said(second: tuple[tuple[float, str, str], ...], why: list[str]) -> None:
    found = compare.compare(run((1, "a", ""), (2, "b", "x")), run(*second))
    assert [row.why for row in found.rows if row.why] == why


def test_a_delay_is_told_once_and_not_of_all_that_follows() -> None:
    found = compare.compare(
        run((1, "a", ""), (2, "b", ""), (3, "c", "")), run((1, "a", ""), (9, "b", ""), (10, "c", ""))
    )
    assert [row.why for row in found.rows] == ["", "7.0 s later in the second", ""]


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common.out, "_width", 200)  # COLUMNS was read when it was made
    arguments = ["timeline", "--from", str(RECORDINGS / "lnd"), "--compare", str(RECORDINGS / "mixed")]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "LSP_a runs lnd in the first, cln in the second" in shown.output
    assert "pay on behalf" in shown.output
    said = CliRunner().invoke(app, [*arguments, "--json"])
    assert json.loads(said.output)["version"] == 1


def test_hostile_texts_are_shown_to_the_letter() -> None:
    console = SafeConsole(file=io.StringIO(), width=200, force_terminal=False)
    found = compare.compare(run((1, "\x1b[2J[red]", "\x1b]0;x\x07")), run((1, "b", "")))
    console.print(compare.rendered(found))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert "[red]" in printed
