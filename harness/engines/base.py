"""The testbed's interface to an engine that runs containers. The rest of `harness`, tests and benches use only this.

Services have their names in the compose file: `LSP_a` is a node or a phone, `LSP_a-lsp` an LSP's component, `bitcoind`,
`toxiproxy` and `push` are the testbed's own. The images come from harness/images, and are Docker images.
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

MOST_READ_BYTES = 100_000_000
"""More than any program of an image has."""
LAST_LINES = 8
"""The number of log lines that an error message quotes."""


class EngineError(TestbedError):
    """An operation of the engine failed; the message has its error."""


class ServiceState(StrEnum):
    """The state of a service."""

    CREATED = "created"
    RUNNING = "running"
    FROZEN = "frozen"
    RESTARTING = "restarting"
    EXITED = "exited"


@dataclass(frozen=True)
class Output:
    """The output of a command inside a service, and its exit code."""

    stdout: str
    stderr: str
    exit_code: int = 0


@dataclass(frozen=True)
class SavedVolumes:
    """The saved content of a testbed's volumes at one moment.

    facts: text that was stored with it; treat it as untrusted input.
    """

    name: str
    facts: str
    size_bytes: int
    saved_at: datetime


class Engine(ABC):
    """The services of one testbed. Every method raises EngineError if it fails.

    project: the name under which the engine keeps everything of the testbed.
    compose_file: the services to run (harness.compose); it need not exist for methods that only query or remove.
    """

    def __init__(self, project: str, compose_file: Path) -> None:
        self.project = project
        self.compose_file = compose_file

    @property
    def actions(self) -> ActionLog:
        """The log of actions on the services."""
        return ActionLog(self.compose_file)

    @abstractmethod
    def up(self, content: Mapping[str, Any], inherit: Sequence[int] = ()) -> None:
        """Create and start every service, in the order that the compose file requires.

        content: of the compose file.
        inherit: file descriptors that a child process keeps open (a lock that must outlive this process).
        """

    @abstractmethod
    def down(self) -> None:
        """Stop and remove everything of this project, also services missing in the compose file; wait for removal."""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """Return the names of this project's remaining containers, networks and volumes."""

    @abstractmethod
    def states(self) -> dict[str, ServiceState]:
        """Return the state of each service that has been created."""

    @abstractmethod
    def start(self, service: str) -> None:
        """Start a service that was stopped or killed, with its existing files."""

    @abstractmethod
    def stop(self, service: str, timeout_seconds: int | None = None) -> None:
        """Shut a service down cleanly; kill it when its grace period (or this timeout) is over."""

    @abstractmethod
    def kill(self, service: str) -> None:
        """Kill a service (SIGKILL). Return when it has exited; it is not restarted."""

    @abstractmethod
    def freeze(self, service: str) -> None:
        """Suspend all processes of a service: its connections stay open, and nothing answers."""

    @abstractmethod
    def unfreeze(self, service: str) -> None:
        """Resume a frozen service."""

    @abstractmethod
    def exit_code(self, service: str) -> int | None:
        """Return the exit code of a service that has exited, even if it will be restarted; None while it runs."""

    @abstractmethod
    def output(self, service: str, command: Sequence[str]) -> Output:
        """Run a command inside a running service. A non-zero exit code is not an error."""

    @abstractmethod
    def run(self, service: str, command: Sequence[str]) -> int:
        """Run a command inside a running service with this terminal's input and output. Return its exit code."""

    @abstractmethod
    def logs(self, service: str, *, timestamps: bool = False, stderr: bool = True, tail: int | None = None) -> bytes:
        """Return a service's output since it was created, including earlier runs.

        timestamps: each line begins with its time. stderr: include standard error. tail: only this number of last
        lines.
        """

    @abstractmethod
    def follow_logs(
        self, service: str, *, stderr: bool = True, tail: int | None = None, since_seconds: float | None = None
    ) -> Iterator[bytes]:
        """Yield the output with timestamps, line by line, then new lines until the service stops.

        since_seconds: only lines printed from this time on (Unix seconds).
        """

    @abstractmethod
    def read(self, service: str, path: str, most_bytes: int = MOST_READ_BYTES) -> bytes:
        """Return the content of one file inside a service, which need not run.

        The file may come from a stranger, by a snapshot: it must be a regular one, of at most `most_bytes`.
        """

    @abstractmethod
    def write(self, service: str, path: str, content: bytes) -> None:
        """Replace one file inside a service; the file persists when the service is restarted."""

    @abstractmethod
    def address(self, service: str, port: int) -> str:
        """Return the address of a running service's TCP port for this process, as host:port."""

    @abstractmethod
    def host(self, service: str) -> str:
        """Return the host name by which other services of the testbed reach this one."""

    @abstractmethod
    def socket(self, service: str, name: str) -> Path:
        """Return the path of the Unix socket with this name in the socket folder of a service."""

    @abstractmethod
    def sidecar(self, service: str) -> AbstractContextManager[str]:
        """Run an idle service with the volumes of another one, running or not. Yield its name, for `output`."""

    @abstractmethod
    def save_volumes(self, name: str, facts: str) -> None:
        """Save the content of all volumes under this name, replacing earlier content.

        Every running service is frozen meanwhile, so the content is that of one moment, as if all had been killed.
        """

    @abstractmethod
    def fill_volumes(self, name: str) -> None:
        """Create the volumes with the content saved under this name, before `up` creates the services."""

    @abstractmethod
    def fill_volumes_from(self, image: str, folders: Mapping[str, str]) -> None:
        """Create some volumes, before `up`, each with the content of a folder in an image that was built for this.

        folders: the folder's name for each volume; a missing folder leaves the volume empty.
        """

    def last_lines(self, service: str, before: str = "") -> str:
        """Return the last lines of a service's output, indented.

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
    """The volumes saved by `Engine.save_volumes`. Every method raises EngineError if it fails."""

    @abstractmethod
    def saved(self) -> list[SavedVolumes]:
        """Return all saved volumes, oldest first."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove the content saved under this name, if any. Volumes that were filled from it are not changed."""

    @abstractmethod
    def export(self, name: str, file: BinaryIO) -> None:
        """Write the content saved under this name, in the format of `load`."""

    @abstractmethod
    def load(self, file: BinaryIO, accept: Callable[[str, str], None], most_bytes: int) -> SavedVolumes:
        """Save the output of `export`, possibly from another machine, replacing the content under its name.

        accept: called with name and facts before anything is changed; its exceptions propagate. Raises EngineError if
        the content exceeds `most_bytes`.
        """


def json_lines(log: bytes) -> list[dict[str, Any]]:
    """Return the JSON objects of a log that has one per line, without other lines and lines truncated by SIGKILL."""
    return [event for event in map(_json_object, log.splitlines()) if event is not None]


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
