"""Time by phase: what `up` spends its seconds on."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Phases:
    """The phases of one run, in order, with their durations."""

    on_start: Callable[[str], None] = lambda _: None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what happens inside under this name, and announce it."""
        self.on_start(name)
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = time.monotonic() - began

    @property
    def total_seconds(self) -> float:
        """All phases together."""
        return sum(self.seconds.values())
