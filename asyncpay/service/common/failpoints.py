"""Failpoints: a crash, or a freeze, at a moment that tests cannot hit otherwise: after a decision is stored, and before
its effect.

They are off unless the environment has ASYNCPAY_FAILPOINTS=1, which only the testbed sets. Then a file next to the
store, named like it with `.crash-before` added, has the name of an effect (of the component's engine) and a number:
`PayOnBehalf 1`, `ResolveHtlc 2`. The next process to start deletes the file, records that in its event log, and exits
when it is about to perform its n-th effect of that name. With the word `freeze` after the number it does not exit but
freezes, like a suspended process, as long as there is a file with the suffix `.frozen`, which it creates itself.
"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from asyncpay.log_events import LogEvent

if TYPE_CHECKING:
    from asyncpay.service.common.event_log import EventLog

VARIABLE = "ASYNCPAY_FAILPOINTS"
"""The environment variable; `1` turns failpoints on."""
EXIT_CODE = 137
"""The exit code of a process killed by SIGKILL, which the first process of a container cannot send to itself."""
_POLL_SECONDS = 0.02


class Failpoints:
    """The failpoint in the file next to the store, if failpoints are on."""

    def __init__(self, store: Path, event_log: "EventLog") -> None:
        self._effect, self._effects_left, self._freezes = "", 0, False
        self._frozen = store.with_name(store.name + ".frozen")
        file = store.with_name(store.name + ".crash-before")
        if os.environ.get(VARIABLE) == "1" and file.exists():
            name, number, *how = file.read_text().split()
            file.unlink()
            self._effect, self._effects_left, self._freezes = name, int(number), how == ["freeze"]
            event = LogEvent.WILL_FREEZE if self._freezes else LogEvent.WILL_CRASH
            event_log.write(event, before=name, number=self._effects_left)

    def reached(self, effect: object) -> bool:
        """Return whether the process must `stop` before this effect."""
        if type(effect).__name__ != self._effect:
            return False
        self._effects_left -= 1
        return self._effects_left == 0

    def stop(self) -> None:
        """Exit without any cleanup, or freeze."""
        self._stand_still() if self._freezes else os._exit(EXIT_CODE)

    def _stand_still(self) -> None:
        """Freeze the whole process, including its event loop."""
        self._frozen.touch()
        while self._frozen.exists():
            time.sleep(_POLL_SECONDS)
