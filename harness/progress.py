"""Lines of progress for the user."""

import time
from collections.abc import Callable

Report = Callable[[str], None]
"""Takes one line of progress."""

HEARTBEAT_SECONDS = 15


class Heartbeat:
    """Tells when long work owes the user another line."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._last_line = self._started

    @property
    def elapsed_seconds(self) -> float:
        """How long the work has been going on."""
        return time.monotonic() - self._started

    def due(self) -> bool:
        """Whether HEARTBEAT_SECONDS have passed since this was last the case."""
        now = time.monotonic()
        if now - self._last_line < HEARTBEAT_SECONDS:
            return False
        self._last_line = now
        return True
