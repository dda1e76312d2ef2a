"""The event log: one JSON object per line on standard output, for users with `jq` and for programs.

Nothing depends on the log: if it cannot be written (a full disk, a pipe without a reader) the component continues,
counts the lost lines, and reports them as soon as it can write again.
"""

import json
import os
import select
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import TextIO

from asyncpay.fair_shares import RateLimit
from asyncpay.log_events import LogEvent
from asyncpay.service.common.followers import Followers

LAST_ERRORS = 20
PATIENCE_SECONDS = 1.0
"""How long the component waits, once, for a reader; after that lines are lost until it reads again."""
_PIECE_BYTES = 512
"""The bytes that a writable pipe accepts without blocking (POSIX's PIPE_BUF is this or more)."""

MAX_OFTEN, OFTEN_SECONDS = 20, 0.5
"""The rate limit of lines of one kind that strangers can cause: the burst, and the seconds per further line."""

_LARGEST = 2**64


class _Output:
    """Write to a file descriptor without failing or waiting for a reader."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._stuck = False
        self._torn = False  # the last line was cut off

    def write(self, line: str) -> bool:
        """Write a line; return False if it is lost."""
        data = (b"\n" if self._torn else b"") + line.encode(errors="backslashreplace")
        while data:
            try:
                if not self._poll.poll(0 if self._stuck else PATIENCE_SECONDS * 1_000):
                    self._stuck = True
                    return False
                written = os.write(self._descriptor, data[:_PIECE_BYTES])
            except OSError:  # the write also reports the POLLERR of a closed pipe
                return False
            self._torn = True
            data = data[written:]
        self._stuck = self._torn = False
        return True


class EventLog:
    """Write events as JSON lines, and keep the last errors for the status.

    Event names are those of asyncpay.log_events; other programs that use this class have their own.
    stream: standard output if None, which may be closed.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._output = _standard_output() if stream is None else None
        self.followers = Followers()
        self._lost = 0
        self._often = RateLimit(MAX_OFTEN, OFTEN_SECONDS)
        self._left_out: Counter[str] = Counter()
        self.errors: deque[dict[str, object]] = deque(maxlen=LAST_ERRORS)

    def write(self, event: str, /, **details: object) -> None:
        """Write one line: the time (Unix seconds), the event, and details; bytes as hex, None omitted."""
        line = {name: _plain(value) for name, value in details.items() if value is not None}
        if self._lost and self._write({"what": LogEvent.LINES_LOST, "lines": self._lost}):
            self._lost = 0
        self._lost += not self._write({"what": event} | line)

    def write_often(self, event: str, /, **details: object) -> None:
        """Write a line that strangers can cause in any number; beyond the rate limit lines are only counted."""
        if self._often.seconds_to_wait(event):
            self._left_out[event] += 1
        else:
            self.write(event, **details, left_out=self._left_out.pop(event, None))

    def error(self, event: str, because: object, /, **details: object) -> None:
        """Write a line about an error, and keep it for the status: a repeated error is kept once, with the time of the
        last occurrence and the number of occurrences.
        """
        error = {"what": str(event), "because": str(because)} | {name: _plain(each) for name, each in details.items()}
        earlier = next((each for each in self.errors if error.items() <= each.items()), None)
        times = 1
        if earlier is not None:
            self.errors.remove(earlier)
            times += int(str(earlier["times"]))
        self.errors.append({"time": round(time.time(), 3), **error, "times": times})
        self.write(event, error=str(because), **details)

    def unexpected(self, during: str, error: BaseException) -> None:
        """Write a line about an error that is a bug of this program, with the source location."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
        self.error(LogEvent.UNEXPECTED_ERROR, f"{error!r}{place}", during=during)

    def _write(self, line: dict[str, object]) -> bool:
        line = {"time": round(time.time(), 3)} | line
        text = json.dumps(line) + "\n"
        self.followers.put(line)
        try:
            if self._stream is not None:
                self._stream.write(text)
                self._stream.flush()
                return True
            return self._output is not None and self._output.write(text)
        except (OSError, ValueError):  # ValueError: the stream is closed
            return False


def _standard_output() -> _Output | None:
    """Return None if the process was started with standard output closed: its descriptor may be another file's now."""
    try:
        return None if sys.stdout is None else _Output(sys.stdout.fileno())
    except (OSError, ValueError):
        return None


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
        return hex(value)  # Python refuses to format numbers of thousands of digits in decimal
    if isinstance(value, (str, int, float)):
        return value
    return str(value)


async def guarded(
    event_log: EventLog, what: str, work: Callable[[], Awaitable[None]], failed: Callable[[], None] = lambda: None
) -> None:
    """Do the work on one message or effect. On an error write it to the log, call `failed`, and continue.

    Expected errors are handled where they occur. `work` is cancelled like any other task. It is called only
    here, so that a task that is cancelled before it runs leaves no coroutine that was never awaited.
    """
    try:
        await work()
    except Exception as error:
        event_log.unexpected(what, error)
        failed()
