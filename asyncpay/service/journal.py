"""What happened, one JSON object a line on standard output, for people with `jq` and for programs."""

import json
import sys
import time
import traceback
from collections import deque
from typing import TextIO

LAST_ERRORS = 20


class Journal:
    """Writes events as JSON lines and remembers the last errors for the status."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self.errors: deque[dict[str, object]] = deque(maxlen=LAST_ERRORS)

    def note(self, what: str, **details: object) -> None:
        """Write one line: the time (Unix seconds), what happened, and details; bytes as hex, None left out."""
        line = {"time": round(time.time(), 3), "what": what}
        line |= {name: _plain(value) for name, value in details.items() if value is not None}
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()

    def error(self, what: str, because: object) -> None:
        """Write a line about something that went wrong, and keep it for the status: what repeats itself once, with the
        time of the last one and how often it has happened.
        """
        error = {"what": what, "because": str(because)}
        earlier = next((each for each in self.errors if error.items() <= each.items()), None)
        times = 1
        if earlier is not None:
            self.errors.remove(earlier)
            times += int(str(earlier["times"]))
        self.errors.append({"time": round(time.time(), 3), **error, "times": times})
        self.note(what, error=str(because))

    def unexpected(self, what: str, error: Exception) -> None:
        """Write a line about an error that only a fault in this program explains, with the place where it arose."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
        self.error(f"{what}: unexpected error", f"{error!r}{place}")


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (str, int, float)):
        return value
    return str(value)
