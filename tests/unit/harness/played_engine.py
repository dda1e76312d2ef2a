"""An engine that runs nothing: its services are in the states that a test gives them, and print what a test says."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.engines.base import Engine, EngineError, Output, ServiceState


@dataclass
class Service:
    state: ServiceState = ServiceState.RUNNING
    exit_code: int = 0
    log: bytes = b""


@dataclass
class PlayedEngine(Engine):
    """Services by name; `done` is what was done to them, in order."""

    services: dict[str, Service]
    project: str = "testbed-x"
    compose_file: Path = Path("compose.yaml")
    done: list[str] = field(default_factory=list)

    def _now(self, service: str, verb: str, state: ServiceState) -> None:
        if service not in self.services:
            raise EngineError(f"testbed x has no container for {service}; is it up?")
        self.done.append(f"{verb} {service}")
        self.services[service].state = state

    def up(self, content: Mapping[str, Any], inherit: Sequence[int] = ()) -> None:
        self.done.append("up")

    def down(self) -> None:
        self.done.append("down")

    def leftovers(self) -> list[str]:
        return list(self.services)

    def states(self) -> dict[str, ServiceState]:
        return {name: service.state for name, service in self.services.items()}

    def start(self, service: str) -> None:
        self._now(service, "start", ServiceState.RUNNING)

    def stop(self, service: str, timeout_seconds: int | None = None) -> None:
        self._now(service, "stop", ServiceState.EXITED)

    def kill(self, service: str) -> None:
        self._now(service, "kill", ServiceState.EXITED)

    def freeze(self, service: str) -> None:
        self._now(service, "freeze", ServiceState.FROZEN)

    def unfreeze(self, service: str) -> None:
        self._now(service, "unfreeze", ServiceState.RUNNING)

    def exit_code(self, service: str) -> int | None:
        ended = self.services[service].state in (ServiceState.EXITED, ServiceState.RESTARTING)
        return self.services[service].exit_code if ended else None

    def output(self, service: str, command: Sequence[str]) -> Output:
        raise EngineError(f"{service} runs no commands")

    def run(self, service: str, command: Sequence[str]) -> int:
        raise EngineError(f"{service} runs no commands")

    def logs(self, service: str, *, timestamps: bool = False, stderr: bool = True, tail: int | None = None) -> bytes:
        lines = self.services[service].log.splitlines(keepends=True)
        return b"".join(lines if tail is None else lines[-tail:])

    def follow_logs(
        self, service: str, *, stderr: bool = True, tail: int | None = None, since_seconds: float | None = None
    ) -> Iterator[bytes]:
        yield from self.logs(service, stderr=stderr, tail=tail).splitlines(keepends=True)

    def read(self, service: str, path: str, most_bytes: int = 0) -> bytes:
        raise EngineError(f"{service} has no file {path} (yet)")

    def write(self, service: str, path: str, content: bytes) -> None:
        self.done.append(f"write {path} of {service}")

    def address(self, service: str, port: int) -> str:
        raise EngineError(f"{service} does not run: no port {port}")

    def host(self, service: str) -> str:
        return service

    def socket(self, service: str, name: str) -> Path:
        return Path("sockets") / service / name

    @contextmanager
    def sidecar(self, service: str) -> Iterator[str]:
        yield f"sidecar-{service}"

    def save_volumes(self, name: str, facts: str) -> None:
        self.done.append(f"save {name}")

    def fill_volumes(self, name: str) -> None:
        self.done.append(f"fill {name}")

    def fill_volumes_from(self, image: str, folders: Mapping[str, str]) -> None:
        self.done.append(f"fill {', '.join(folders)} from {image}")
