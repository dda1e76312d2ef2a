"""An event loop in fast motion: when nothing is to be done, its time goes on to the next timer at once."""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any


class FastMotionLoop(asyncio.SelectorEventLoop):
    """Time stands still while there is work, also in threads: what is measured in it is only what is waited for."""

    def __init__(self) -> None:
        self._played_seconds = 0.0
        self._in_threads = 0
        super().__init__(_Skipping(self._skip))

    def time(self) -> float:
        """Seconds since the loop was made, as played."""
        return self._played_seconds

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, call: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """See asyncio; time stands still until it is done."""
        self._in_threads += 1
        done = super().run_in_executor(executor, call, *args)
        done.add_done_callback(self._back)
        return done

    def _back(self, _: object) -> None:
        self._in_threads -= 1

    def _skip(self, seconds: float) -> bool:
        """Let so much time pass, unless a thread is at work."""
        if self._in_threads:
            return False
        self._played_seconds += seconds
        return True


class _Skipping(selectors.DefaultSelector):
    def __init__(self, skip: Callable[[float], bool]) -> None:
        super().__init__()
        self._skip = skip

    def select(self, timeout: float | None = None) -> Any:
        """See selectors."""
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(0)
        if ready or self._skip(timeout):
            return ready
        return super().select(None)
