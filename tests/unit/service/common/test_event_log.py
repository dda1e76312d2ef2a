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
from asyncpay.service.common.event_log import LAST_ERRORS, EventLog


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
    EventLog().write("part", htlc=b"\x02", none=None, many=(b"\x01",), number=2**64 + 1)
    (line,) = lines(os.read(pipe[0], 10_000))
    del line["time"]
    assert line == {"what": "part", "htlc": "02", "many": ["01"], "number": "0x10000000000000001"}


def test_numbers_and_texts_that_cannot_be_written_as_they_are(pipe: tuple[int, int]) -> None:
    EventLog().write("\ud800\x1b[2J", number=10**5000, text="\udfff")
    (line,) = lines(os.read(pipe[0], 10_000))
    assert line["number"].startswith("0x")


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    stdout_is(monkeypatch, full)
    event_log = EventLog()
    for _ in range(100):
        event_log.write("part")
    event_log.error("it went wrong", "because")
    assert event_log.errors[-1]["what"] == "it went wrong"
    os.close(full)


def test_a_reader_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    stdout_is(monkeypatch, writing)
    os.close(reading)
    EventLog().write("part")
    os.close(writing)


def test_a_reader_that_stops_reading_and_reads_again(pipe: tuple[int, int]) -> None:
    event_log = EventLog()
    for number in range(3_000):
        event_log.write("part", number=number)
    got = b""
    while True:
        try:
            got += os.read(pipe[0], 1_000_000)
        except BlockingIOError:
            break
    event_log.write("again")
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
    event_log = EventLog()
    event_log.error("it went wrong", "because")
    assert len(event_log.errors) == 1


def test_a_stream_that_is_closed(tmp_path: Path) -> None:
    stream = (tmp_path / "log").open("w", encoding="utf-8")
    event_log = EventLog(stream)
    stream.close()
    event_log.write("part")


# --- what the status shows ---


def test_what_repeats_itself_is_kept_once_with_its_last_time_and_number() -> None:
    event_log = EventLog(io.StringIO())
    event_log.error("the node is away", "it does not answer")
    first = event_log.errors[0]["time"]
    event_log.error("release not sent", "the node is not synced")
    for _ in range(LAST_ERRORS):
        event_log.error("the node is away", "it does not answer")
    assert [(each["what"], each["times"]) for each in event_log.errors] == [
        ("release not sent", 1),
        ("the node is away", LAST_ERRORS + 1),
    ]
    assert float(str(event_log.errors[-1]["time"])) >= float(str(first))


def test_every_line_is_written_all_the_same() -> None:
    stream = io.StringIO()
    event_log = EventLog(stream)
    for _ in range(3):
        event_log.error("the node is away", "it does not answer")
    assert len(stream.getvalue().splitlines()) == 3


def test_lines_that_strangers_cause_are_few() -> None:
    stream, now = io.StringIO(), [0.0]
    event_log = EventLog(stream)
    event_log._often._clock = lambda: now[0]
    for number in range(10_000):
        event_log.write_often("message dropped", number=number)
    event_log.write_often("block_request ignored")
    now[0] += module.OFTEN_SECONDS
    event_log.write_often("message dropped", number=10_000)
    written = lines(stream.getvalue().encode())
    assert len(written) == module.MAX_OFTEN + 2
    assert written[-2]["what"] == "block_request ignored", "each kind has its own count"
    assert written[-1]["left_out"] == 10_000 - module.MAX_OFTEN
