"""Lines of logs with their times, by one clock.

All containers of a testbed share the clock of one machine, so times of different logs can be compared as they are. Two
clocks stamp each line: that of the process that wrote it, and that of the container engine that took it, some
milliseconds later and sometimes in the order of another thread. The process's own is the better one, unless somebody
has changed it: a process with a faked clock (libfaketime, `-mocktime`), or one whose clock was set while it ran. So
where the two differ by more than MOST_LAG_SECONDS, the engine's counts, and the event says by how much they differ.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.nodes.wire_log import unix_seconds

MOST_LAG_SECONDS = 5.0
"""How long the engine may take for a line while the machine is busy."""
MOST_LINE_BYTES = 100_000
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{1,9})Z ")


@dataclass(frozen=True)
class Line:
    """A line of a log, and when the engine took it (Unix seconds)."""

    stamp: float
    text: str


@dataclass(frozen=True)
class Moment:
    """When something happened, by the machine's clock; offset: how far the source's own clock was off, if too far."""

    time: float
    offset_seconds: float | None = None


def moment(own_time: float | None, stamp: float) -> Moment:
    """The time of a line that says `own_time` and was taken at `stamp`."""
    if own_time is None:
        return Moment(stamp)
    offset = own_time - stamp
    return Moment(own_time) if abs(offset) <= MOST_LAG_SECONDS else Moment(stamp, round(offset, 3))


def stamped(line: bytes) -> Line | None:
    """One line that begins with the engine's time; None if it does not."""
    return next(iter(Lines(line)), None)


class Lines:
    """The lines of one log. `torn`: how many were cut short or without a time, once all have been read."""

    def __init__(self, log: bytes) -> None:
        self._log = log
        self.torn = 0

    def __iter__(self) -> Iterator[Line]:
        seconds: tuple[bytes, float | None] = (b"", None)  # of the last stamp: most lines share theirs
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
        """Those that are JSON objects."""
        for line in self:
            if line.text.startswith("{"):
                value = json_object(line.text)
                if value is None:
                    self.torn += 1
                else:
                    yield line, value


def json_object(text: str) -> dict[str, Any] | None:
    """A JSON object; None if the text is none, or nested too deeply to be one of a log."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def number(value: object) -> float | None:
    """A time of JSON in Unix seconds; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value < 1e11 else None
