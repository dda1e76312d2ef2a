"""The testbed's own actions on its services and phones: a file in its folder, with one JSON object per line.

No container's log has these actions: a service that is killed cannot log it, and a cut link logs nothing. The timeline
reads the file (harness.timeline). Nothing else depends on it: actions are carried out even if it cannot be written.
"""

import contextlib
import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

ACTIONS = "actions.jsonl"
"""The file's name in the folder of a testbed."""
MOST_BYTES = 32 * 1024 * 1024
"""Maximum size of the file: no lines are added beyond it."""
MOST_REASON_CHARACTERS = 500

_within: ContextVar[bool] = ContextVar("within_an_action", default=False)


class ActionLog:
    """Appends to the file next to a testbed's compose file, from any number of processes; does nothing without one."""

    def __init__(self, compose_file: Path) -> None:
        self._compose_file = compose_file

    def write(self, what: str, target: str, **details: object) -> None:
        """Write one line: the time (Unix seconds), the action, its target, and details."""
        line = json.dumps({"time": round(time.time(), 3), "what": what, "target": target} | details, default=str)
        with contextlib.suppress(OSError):
            if self._compose_file.exists():
                self._append(line.encode() + b"\n")

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self._compose_file.with_name(ACTIONS), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.fstat(descriptor).st_size < MOST_BYTES:
                os.write(descriptor, line)  # one call: lines of several processes do not mix
        finally:
            os.close(descriptor)

    def read(self, begin: int = 0) -> bytes:
        """Return all lines from byte `begin` on; none if there is no file."""
        try:
            with self._compose_file.with_name(ACTIONS).open("rb") as file:
                file.seek(begin)
                return file.read()
        except OSError:
            return b""

    @contextmanager
    def recording(self, what: str, target: str, **details: object) -> Iterator[None]:
        """Write a line at the start of a `with` block, and one if it fails; nested actions are not written."""
        if _within.get():
            yield
            return
        token = _within.set(True)
        self.write(what, target, **details)
        try:
            yield
        except Exception as error:
            self.write(f"{what} failed", target, because=str(error)[:MOST_REASON_CHARACTERS])
            raise
        finally:
            _within.reset(token)


class Acting(Protocol):
    """An object whose actions are recorded."""

    @property
    def actions(self) -> ActionLog:
        """Where to."""


class Named(Acting, Protocol):
    """An object with a name whose actions are recorded."""

    @property
    def name(self) -> str:
        """Its name in the testbed."""


P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A", bound=Acting)
N = TypeVar("N", bound=Named)


def recorded_verb(method: Callable[Concatenate[N, P], R]) -> Callable[Concatenate[N, P], R]:
    """Record calls of a method with the name of its object: `disconnect`, of `A`."""

    @functools.wraps(method)
    def wrapper(self: N, /, *args: P.args, **kwargs: P.kwargs) -> R:
        said = [str(each) for each in (*args, *kwargs.values())]
        with self.actions.recording(method.__name__, self.name, **({"arguments": said} if said else {})):
            return method(self, *args, **kwargs)

    return wrapper


def recorded_of_service(method: Callable[Concatenate[A, str, P], R]) -> Callable[Concatenate[A, str, P], R]:
    """Record calls of a method with its first argument, the name of a service: `kill`, of `LSP_a-lsp`."""

    @functools.wraps(method)
    def wrapper(self: A, service: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.actions.recording(method.__name__, service):
            return method(self, service, *args, **kwargs)

    return wrapper
