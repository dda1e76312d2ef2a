"""The page shows what the table says, and notices when it does not."""

from pathlib import Path

import pytest

from asyncpay.engine import diagram
from asyncpay.engine.lsp import stages
from asyncpay.engine.lsp.stages import Stage, To, Trigger


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "protocol.md"
    copy.write_text(diagram.PAGE.read_text())
    monkeypatch.setattr(diagram, "PAGE", copy)
    return copy


def test_the_page_is_up_to_date() -> None:
    assert diagram.main(["--check"]) == 0


def test_a_changed_table_is_noticed_and_drawn(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stages.TRANSITIONS[Stage.RELEASED], Trigger.REFUSAL, To(Stage.HELD))
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
    assert "lost the lines" in capsys.readouterr().err
