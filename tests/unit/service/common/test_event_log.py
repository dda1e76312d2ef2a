"""The log: one line for each event, and a component that goes on where it cannot be written."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asyncpay.service.common import event_log as module
from asyncpay.service.common.event_log import LAST_ERRORS, Journal


def stdout_is(monkeypatch: pytest.MonkeyPatch, descriptor: int | None) -> None:
    """For the log alone: pytest has plans of its own for sys.stdout."""
    stdout = None if descriptor is None else SimpleNamespace(fileno=lambda: descriptor)
    monkeypatch.setattr(module, "sys", SimpleNamespace(stdout=stdout))


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Standard output is a pipe: its reading and its writing end."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    reading, writing = os.pipe()
    stdout_is(monkeypatch, writing)
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines() if line]


def test_a_line(pipe: tuple[int, int]) -> None:
    Journal().note("part", htlc=b"\x02", none=None, many=(b"\x01",), number=2**64 + 1)
    (line,) = lines(os.read(pipe[0], 10_000))
    del line["time"]
    assert line == {"what": "part", "htlc": "02", "many": ["01"], "number": "0x10000000000000001"}


def test_numbers_and_texts_that_cannot_be_written_as_they_are(pipe: tuple[int, int]) -> None:
    Journal().note("\ud800\x1b[2J", number=10**5000, text="\udfff")
    (line,) = lines(os.read(pipe[0], 10_000))
    assert line["number"].startswith("0x")


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    stdout_is(monkeypatch, full)
    journal = Journal()
    for _ in range(100):
        journal.note("part")
    journal.error("it went wrong", "because")
    assert journal.errors[-1]["what"] == "it went wrong"
    os.close(full)


def test_a_reader_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    stdout_is(monkeypatch, writing)
    os.close(reading)
    Journal().note("part")
    os.close(writing)


def test_a_reader_that_stops_reading_and_reads_again(pipe: tuple[int, int]) -> None:
    journal = Journal()
    for number in range(3_000):
        journal.note("part", number=number)
    got = b""
    while True:
        try:
            got += os.read(pipe[0], 1_000_000)
        except BlockingIOError:
            break
    journal.note("again")
    seen = got + os.read(pipe[0], 1_000_000)
    whole = [line for line in seen.splitlines() if line.endswith(b"}")]
    numbers = [line.get("number") for line in map(json.loads, whole)]
    lost = next(line["lines"] for line in map(json.loads, whole) if line["what"] == "log lines lost")
    kept = len([number for number in numbers if number is not None])
    assert numbers[:kept] == list(range(kept))
    assert kept + lost == 3_000
    assert json.loads(whole[-1])["what"] == "again"


def test_a_process_without_standard_output_writes_to_no_other_file(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout_is(monkeypatch, None)
    journal = Journal()
    journal.error("it went wrong", "because")
    assert len(journal.errors) == 1


def test_a_stream_that_is_closed(tmp_path: Path) -> None:
    stream = (tmp_path / "log").open("w", encoding="utf-8")
    journal = Journal(stream)
    stream.close()
    journal.note("part")


# --- what the status shows ---


def test_what_repeats_itself_is_kept_once_with_its_last_time_and_number() -> None:
    journal = Journal(io.StringIO())
    journal.error("the node is away", "it does not answer")
    first = journal.errors[0]["time"]
    journal.error("release not sent", "the node is not synced")
    for _ in range(LAST_ERRORS):
        journal.error("the node is away", "it does not answer")
    assert [(each["what"], each["times"]) for each in journal.errors] == [
        ("release not sent", 1),
        ("the node is away", LAST_ERRORS + 1),
    ]
    assert float(str(journal.errors[-1]["time"])) >= float(str(first))


def test_every_line_is_written_all_the_same() -> None:
    stream = io.StringIO()
    journal = Journal(stream)
    for _ in range(3):
        journal.error("the node is away", "it does not answer")
    assert len(stream.getvalue().splitlines()) == 3


def test_lines_that_strangers_cause_are_few() -> None:
    stream, now = io.StringIO(), [0.0]
    journal = Journal(stream)
    journal._often._clock = lambda: now[0]
    for number in range(10_000):
        journal.note_often("message dropped", number=number)
    journal.note_often("block_request ignored")
    now[0] += module.OFTEN_SECONDS
    journal.note_often("message dropped", number=10_000)
    written = lines(stream.getvalue().encode())
    assert len(written) == module.MAX_OFTEN + 2
    assert written[-2]["what"] == "block_request ignored", "each kind has its own count"
    assert written[-1]["left_out"] == 10_000 - module.MAX_OFTEN
