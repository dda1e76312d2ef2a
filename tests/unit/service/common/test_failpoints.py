"""Failpoints: at the very effect that was asked for, once, never without a file, and never unless turned on."""

import io
import os
import threading
import time
from pathlib import Path

import pytest

from asyncpay.engine.lsp.interface import Effect, Log, ResolveHtlc
from asyncpay.lightning import ChannelId, HtlcKey, Resolution
from asyncpay.log_events import LogEvent
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.common.failpoints import Failpoints

ANSWER = ResolveHtlc(HtlcKey(ChannelId.from_name(1), 0), Resolution.RESUME)


class _DiedError(Exception):
    """Instead of the end of the test run."""


@pytest.fixture(autouse=True)
def death(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCPAY_FAILPOINTS", "1")

    def die(_: int) -> None:
        raise _DiedError

    monkeypatch.setattr(os, "_exit", die)


def survivors(store: Path, effects: list[Effect]) -> int:
    """How many effects a process would carry out."""
    point = Failpoints(store, EventLog(io.StringIO()))
    for number, effect in enumerate(effects):
        try:
            if point.reached(effect):
                point.stop()
        except _DiedError:
            return number
    return len(effects)


def test_never_without_a_file(tmp_path: Path) -> None:
    assert survivors(tmp_path / "lsp.sqlite", [ANSWER, Log(LogEvent.PART)]) == 2


def test_before_the_effect_that_is_asked_for_and_only_once(tmp_path: Path) -> None:
    store = tmp_path / "lsp.sqlite"
    effects: list[Effect] = [Log(LogEvent.PART), ANSWER, Log(LogEvent.PART), ANSWER, ANSWER]
    (tmp_path / "lsp.sqlite.crash-before").write_text("ResolveHtlc 2\n")
    assert survivors(store, effects) == 3
    assert survivors(store, effects) == 5


def test_a_file_does_nothing_unless_failpoints_are_turned_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lsp.sqlite.crash-before"
    file.write_text("ResolveHtlc 1\n")
    for value in ("", "0"):
        monkeypatch.setenv("ASYNCPAY_FAILPOINTS", value)
        assert survivors(tmp_path / "lsp.sqlite", [ANSWER]) == 1
    monkeypatch.delenv("ASYNCPAY_FAILPOINTS")
    assert survivors(tmp_path / "lsp.sqlite", [ANSWER]) == 1
    assert file.exists()


def test_stands_still_until_it_is_let_go(tmp_path: Path) -> None:
    store, frozen = tmp_path / "lsp.sqlite", tmp_path / "lsp.sqlite.frozen"
    (tmp_path / "lsp.sqlite.crash-before").write_text("ResolveHtlc 1 freeze\n")
    done: list[int] = []
    process = threading.Thread(target=lambda: done.append(survivors(store, [Log(LogEvent.PART), ANSWER])))
    process.start()
    deadline = time.monotonic() + 10
    while not frozen.exists() and time.monotonic() < deadline:
        process.join(0.01)
    assert frozen.exists()
    assert not done
    frozen.unlink()
    process.join(10)
    assert done == [2]
