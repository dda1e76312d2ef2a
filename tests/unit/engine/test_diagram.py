"""The page shows what the table says, and notices when it does not."""

from pathlib import Path

import pytest

from asyncpay.engine import diagram
from asyncpay.engine.lsp import states
from asyncpay.engine.lsp.states import State, To, Trigger
from asyncpay.engine.payer import states as payer_states


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "protocol.md"
    copy.write_text(diagram.PAGE.read_text())
    monkeypatch.setattr(diagram, "PAGE", copy)
    return copy


def test_the_page_is_up_to_date() -> None:
    assert diagram.main(["--check"]) == 0


def test_a_changed_table_is_noticed_and_drawn(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(states.TRANSITIONS[State.RELEASED], Trigger.REFUSAL, To(State.HELD))
    assert diagram.main(["--check"]) == 1
    assert diagram.main([]) == 0
    assert "released --> held: payee refuses" in page.read_text()
    assert diagram.main(["--check"]) == 0


def test_nothing_but_the_drawn_part_is_touched(page: Path) -> None:
    before = page.read_text()
    page.write_text(before.replace("held --> due", "held --> nowhere"))
    assert diagram.main([]) == 0
    assert page.read_text() == before


def test_a_page_without_its_marks_is_left_alone(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page.write_text("nothing")
    assert diagram.main([]) == 1
    assert page.read_text() == "nothing"
    assert "lacks the lines" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "table"),
    [
        ("    order_given --> settled: the node has the preimage", "payer"),
        ("    nothing_sent --> failed: the user cancels / the LSP reports", "payer"),
        ("    blocked --> paying: the channel to the LSP is usable", "payer"),
        ("        held --> handed_over: payment_pending was sent", "payer"),
        ("    expired --> paid: all invoices are paid", "payee"),
        ("    [*] --> refused: announced, but not owed", "payee"),
        ("    undecided --> failed_back: a deadline of the block / ", "lsp"),
    ],
)
def test_each_table_stands_in_its_place(line: str, table: str) -> None:
    page = diagram.PAGE.read_text()
    (drawing,) = (each for each in diagram.DRAWINGS if each.engine == table)
    drawn = page.partition(drawing.mark)[2].partition(diagram.END)[0]
    assert f"\n{line}" in drawn


def test_what_only_some_of_a_group_share_is_drawn_one_by_one(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(payer_states.TRANSITIONS[payer_states.State.HELD], payer_states.Trigger.PAID)
    assert diagram.main([]) == 0
    assert "order_given --> settled" not in page.read_text()
    assert "paying --> settled: the node has the preimage" in page.read_text()
    assert "handed_over --> settled: the node has the preimage" in page.read_text()


def test_every_transition_is_drawn_once() -> None:
    for drawing in diagram.DRAWINGS:
        lines = [line for line in drawing.draw().splitlines() if " --> " in line and "[*]" not in line]
        count = sum(line.count(" / ") + 1 for line in lines)
        transitions = drawing.transitions()
        shared = [
            len(triggers) * (len(members) - 1)
            for members in drawing.groups.values()
            for triggers in diagram._shared(transitions, members).values()
        ]
        assert count + sum(shared) == sum(len(row) for row in transitions.values())
