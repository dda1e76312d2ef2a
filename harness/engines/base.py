"""What the testbed asks of an engine that runs containers. The rest of `harness`, tests and benches use these alone.

A service is named as in the compose file: `LSP_a` is a node or a phone, `LSP_a-lsp` an LSP's component, `bitcoind`,
`toxiproxy` and `push` are the testbed's own. The images come from harness/images, and are Docker's.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from harness.actions import ActionLog
from harness.errors import TestbedError

LAST_LINES = 8
"""How much of a log an error message quotes."""


class EngineError(TestbedError):
    """The engine did not do what was asked; the message holds its own words."""


class ServiceState(StrEnum):
    """What a service does."""

    CREATED = "created"
    RUNNING = "running"
    FROZEN = "frozen"
    RESTARTING = "restarting"
    EXITED = "exited"


@dataclass(frozen=True)
class Output:
    """What a command inside a service printed, and its exit code."""

    stdout: str
    stderr: str
    exit_code: int = 0


@dataclass(frozen=True)
class SavedVolumes:
    """What the volumes of a testbed held at one moment, as the engine keeps it.

    facts: text that was given with it; a stranger may have written it.
    """

    name: str
    facts: str
    size_bytes: int
    saved_at: datetime


class Engine(ABC):
    """The services of one testbed. Every verb raises EngineError if it cannot be carried out.

    project: the name under which the engine keeps all that belongs to the testbed.
    compose_file: what is to run (harness.compose); it need not exist for the verbs that only look or remove.
    """

    def __init__(self, project: str, compose_file: Path) -> None:
        self.project = project
        self.compose_file = compose_file

    @property
    def actions(self) -> ActionLog:
        """What is done to the services is written down here."""
        return ActionLog(self.compose_file)

    @abstractmethod
    def up(self, content: Mapping[str, Any], inherit: Sequence[int] = ()) -> None:
        """Create and start every service, in the order that the compose file demands.

        content: of the compose file.
        inherit: file descriptors that a child process keeps open (a lock that must outlive this process).
        """

    @abstractmethod
    def down(self) -> None:
        """Stop and remove everything of this project, in the compose file or not. It returns when all is gone."""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """What the engine still has of this project: containers, networks, volumes, by name."""

    @abstractmethod
    def states(self) -> dict[str, ServiceState]:
        """The state of each service that has been created."""

    @abstractmethod
    def start(self, service: str) -> None:
        """Start a service that was stopped or killed, with its files as they were left."""

    @abstractmethod
    def stop(self, service: str, timeout_seconds: int | None = None) -> None:
        """Let a service shut down in good order; it is killed when its grace period (or this timeout) is over."""

    @abstractmethod
    def kill(self, service: str) -> None:
        """Kill a service (SIGKILL). It returns when the service has exited, and nothing starts it again."""

    @abstractmethod
    def freeze(self, service: str) -> None:
        """Suspend all processes of a service: its connections stay open, and nothing answers."""

    @abstractmethod
    def unfreeze(self, service: str) -> None:
        """Let a frozen service continue."""

    @abstractmethod
    def exit_code(self, service: str) -> int | None:
        """The exit code of a service that has ended, be it about to be started again; None while it runs."""

    @abstractmethod
    def output(self, service: str, command: Sequence[str]) -> Output:
        """Run a command inside a running service. A non-zero exit code is no error."""

    @abstractmethod
    def run(self, service: str, command: Sequence[str]) -> int:
        """Run a command inside a running service with this terminal's input and output; its exit code."""

    @abstractmethod
    def logs(self, service: str, *, timestamps: bool = False, stderr: bool = True, tail: int | None = None) -> bytes:
        """What a service has printed since it was created, its earlier runs included.

        timestamps: each line begins with its time. stderr: include standard error. tail: only so many last lines.
        """

    @abstractmethod
    def follow_logs(
        self, service: str, *, stderr: bool = True, tail: int | None = None, since_seconds: float | None = None
    ) -> Iterator[bytes]:
        """The same with timestamps, line by line, and on with what the service prints until it stops.

        since_seconds: only what was printed from this time on (Unix seconds).
        """

    @abstractmethod
    def read(self, service: str, path: str) -> bytes:
        """The content of one file inside a service, which need not run."""

    @abstractmethod
    def write(self, service: str, path: str, content: bytes) -> None:
        """Replace one file inside a service; it is kept when the service is started again."""

    @abstractmethod
    def address(self, service: str, port: int) -> str:
        """Where this process reaches a TCP port of a running service, as host:port."""

    @abstractmethod
    def host(self, service: str) -> str:
        """The name by which other services of the testbed reach this one."""

    @abstractmethod
    def socket(self, service: str, name: str) -> Path:
        """Where this process reaches the Unix socket of this name in the socket folder of a service."""

    @abstractmethod
    def beside(self, service: str) -> AbstractContextManager[str]:
        """Run an idle service on the volumes of another one, be that running or not; its name, for `output`."""

    @abstractmethod
    def save_volumes(self, name: str, facts: str) -> None:
        """Keep what all volumes hold under this name, in place of what was kept under it.

        Every service that runs is frozen meanwhile. So the content is that of one moment, as if all had been killed.
        """

    @abstractmethod
    def fill_volumes(self, name: str) -> None:
        """Make the volumes with what is kept under this name, before `up` makes the services that use them."""

    @abstractmethod
    def fill_volumes_from(self, image: str, folders: Mapping[str, str]) -> None:
        """Make some volumes, before `up`, each with what is in a folder of an image that was made for this.

        folders: the folder's name for each volume; one that is not there leaves the volume empty.
        """

    def last_lines(self, service: str, before: str = "") -> str:
        """The end of what a service printed, indented.

        before: up to the last line that contains this, without JSON lines (other programs of a phone write those).
        """
        printed = self.logs(service, tail=200).decode(errors="replace").splitlines()
        if ends := [number for number, line in enumerate(printed) if before and before in line]:
            printed = [line for line in printed[: ends[-1]] if not line.startswith("{")]
        return "\n".join(f"  {line}" for line in printed[-LAST_LINES:])

    @contextmanager
    def frozen(self, service: str) -> Iterator[None]:
        """`freeze` a service, and `unfreeze` it at the end of the `with` block."""
        self.freeze(service)
        try:
            yield
        finally:
            self.unfreeze(service)


class VolumeStore(ABC):
    """What an engine keeps by `Engine.save_volumes`. Every verb raises EngineError if it cannot be carried out."""

    @abstractmethod
    def saved(self) -> list[SavedVolumes]:
        """All that is kept, oldest first."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove what is kept under this name, if there is any. Volumes that were filled from it stay as they are."""

    @abstractmethod
    def export(self, name: str, file: BinaryIO) -> None:
        """Write what is kept under this name, as `load` reads it."""

    @abstractmethod
    def load(self, file: BinaryIO, accept: Callable[[str, str], None], most_bytes: int) -> SavedVolumes:
        """Keep what `export` wrote, perhaps on another machine, in place of what is kept under its name.

        accept: is told name and facts before anything is changed; what it raises is raised. EngineError beyond
        `most_bytes` of content.
        """


def json_lines(log: bytes) -> list[dict[str, Any]]:
    """The JSON objects of a log that has one in each line; other lines, and one cut short by SIGKILL, are left out."""
    return [event for event in map(_json_object, log.splitlines()) if event is not None]


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
