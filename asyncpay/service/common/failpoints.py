"""Failpoints: a crash, or a standstill, at a moment that no test hits by luck: a decision is stored, and not yet acted
upon.

They are off unless the environment has ASYNCPAY_FAILPOINTS=1, which only the testbed sets. Then a file beside the
store, named like it with `.crash-before` added, holds the name of an effect (of the component's engine) and a number:
`PayOnBehalf 1`, `ResolveHtlc 2`. The next process to start deletes the file, says so in its event log, and dies when it
is about to carry out its n-th effect of that name. With the word `freeze` behind the number it does not die but stands
still, like a process that the machine has suspended, as long as there is a file named `.frozen`, which it makes itself.
"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from asyncpay.log_events import LogEvent

if TYPE_CHECKING:
    from asyncpay.service.common.event_log import EventLog

VARIABLE = "ASYNCPAY_FAILPOINTS"
"""Of the environment: `1` turns failpoints on."""
EXIT_CODE = 137
"""As of a process that was killed with SIGKILL, which the first process of a container cannot do to itself."""
_POLL_SECONDS = 0.02


class Failpoints:
    """The failpoint that the file beside this store asks for, if failpoints are on."""

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
        """Whether the process is to `stop` before this effect."""
        if type(effect).__name__ != self._effect:
            return False
        self._effects_left -= 1
        return self._effects_left == 0

    def stop(self) -> None:
        """Die, without a chance to tidy up, or stand still."""
        self._stand_still() if self._freezes else os._exit(EXIT_CODE)

    def _stand_still(self) -> None:
        """The whole process, its event loop included."""
        self._frozen.touch()
        while self._frozen.exists():
            time.sleep(_POLL_SECONDS)
