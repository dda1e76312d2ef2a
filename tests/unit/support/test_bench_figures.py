"""The report of a bench where matplotlib is not installed: only `make bench` installs it."""

import json
import sys
from pathlib import Path

import pytest

from tests.bench import figures
from tests.bench.figures import Figure


def test_without_matplotlib_figures_are_kept_and_a_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.ticker"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails

    figures.report("some", "some figures", [Figure("one", "s", [1.0, 3.0, 2.0], target=4)])

    (kept,) = json.loads((tmp_path / "some.json").read_text(encoding="utf-8"))["figures"]
    assert (kept["median"], kept["target"]) == (2.0, 4)
    printed = capsys.readouterr()
    assert "2" in printed.out
    assert "some.svg was not drawn: matplotlib is not installed" in printed.err
    assert "make bench" in printed.err
    assert not (tmp_path / "some.svg").exists()
