"""Lines of logs with their times, by one clock.

All containers of a testbed share the clock of one machine, so times of different logs can be compared directly. Each
line has two times: that of the process that wrote it, and that of the container engine that received it, some
milliseconds later and sometimes in the order of another thread. The process's own time is better, unless its clock was
changed: by a faked clock (libfaketime, `-mocktime`), or by setting it while the process ran. So if the two differ by
more than MOST_LAG_SECONDS, the engine's time is used, and the event has the difference (class Clock).
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.nodes.wire_log import unix_seconds

MOST_LAG_SECONDS = 5.0
"""The longest delay of a line in the engine while the machine is busy."""
MOST_DELAY_SECONDS = 1.0
"""The same as far as it is assumed of a process whose clock is not the machine's, and may run at another speed."""
MOST_LINE_BYTES = 100_000
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{1,9})Z ")


@dataclass(frozen=True)
class Line:
    """A line of a log, and when the engine received it (Unix seconds)."""

    stamp: float
    text: str


@dataclass(frozen=True)
class Moment:
    """A time by the machine's clock; offset: the offset of the source's own clock, if it was too large to use it."""

    time: float
    offset_seconds: float | None = None


class Clock:
    """The clock of the processes that write one log, as its lines show it in their order."""

    def __init__(self) -> None:
        self._offset_seconds: float | None = None

    def moment(self, own_time: float | None, stamp: float) -> Moment:
        """Return the time of the next line, with the time `own_time`, that was received at `stamp`.

        A line of a clock that is not the machine's was written at most MOST_DELAY_SECONDS before it was received: the
        earlier lines show how far that clock is off, because one of them was received with hardly any delay.
        """
        if own_time is None:
            return Moment(stamp)
        offset = own_time - stamp
        if abs(offset) <= MOST_LAG_SECONDS:
            return Moment(own_time)
        if self._offset_seconds is None or not 0 <= self._offset_seconds - offset <= MOST_DELAY_SECONDS:
            self._offset_seconds = offset
        return Moment(own_time - self._offset_seconds, round(offset, 3))


def stamped(line: bytes) -> Line | None:
    """Parse a line that begins with the engine's time; None if it does not."""
    return next(iter(Lines(line)), None)


class Lines:
    """The lines of one log. `torn`: after all have been read, the number of lines truncated or without a time."""

    def __init__(self, log: bytes) -> None:
        self._log = log
        self.torn = 0

    def __iter__(self) -> Iterator[Line]:
        seconds: tuple[bytes, float | None] = (b"", None)  # cache of the last one: most lines share it
        for line in self._log.split(b"\n"):
            found = _STAMP.match(line)
            if found is None:
                self.torn += bool(line)
                continue
            if found[1] != seconds[0]:
                seconds = found[1], unix_seconds(found[1].decode())
            if seconds[1] is None:
                self.torn += 1
                continue
            text = line[found.end() : found.end() + MOST_LINE_BYTES].decode(errors="replace")
            yield Line(seconds[1] + float(b"0." + found[2]), text)

    def objects(self) -> Iterator[tuple[Line, dict[str, Any]]]:
        """Yield the lines that are JSON objects."""
        for line in self:
            if line.text.startswith("{"):
                value = json_object(line.text)
                if value is None:
                    self.torn += 1
                else:
                    yield line, value


def json_object(text: str) -> dict[str, Any] | None:
    """Parse a JSON object; None if the text is not one, or is nested too deeply for a log line."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def number(value: object) -> float | None:
    """Return a JSON value as Unix seconds; None if it is not a time."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value < 1e11 else None
