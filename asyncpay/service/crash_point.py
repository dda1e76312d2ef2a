"""A crash on purpose, at a moment that no test hits by luck: a decision is stored, and not yet acted upon.

Nothing happens unless somebody has put a file beside the store, named like it with `.crash-before` added, that holds
the name of an effect (asyncpay.engine.lsp.effects) and a number: `PayOnBehalf 1`, `Answer 2`. The next process to
start takes the file away, says so in its journal, and dies when it is about to carry out its n-th effect of that name.
"""

import os
from pathlib import Path

from asyncpay.engine.lsp.effects import Effect
from asyncpay.service.journal import Journal

EXIT_CODE = 137
"""As of a process that was killed with SIGKILL, which the first process of a container cannot do to itself."""


class CrashPoint:
    """What the file beside this store asks for; mostly nothing."""

    def __init__(self, store: Path, journal: Journal) -> None:
        self._effect, self._effects_left = "", 0
        file = store.with_name(store.name + ".crash-before")
        if file.exists():
            name, number = file.read_text().split()
            file.unlink()
            self._effect, self._effects_left = name, int(number)
            journal.note("will crash on purpose", before=name, number=self._effects_left)

    def before(self, effect: Effect) -> None:
        """Die, without a chance to tidy up, if this is the effect."""
        if type(effect).__name__ == self._effect:
            self._effects_left -= 1
            if self._effects_left == 0:
                os._exit(EXIT_CODE)
