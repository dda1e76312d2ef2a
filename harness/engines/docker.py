"""A testbed on a Docker engine of this machine: `docker compose` creates and removes, the Docker SDK does all else."""

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from harness.actions import recorded_of_service
from harness.engines import docker_exec, docker_start, docker_volumes
from harness.engines.base import MOST_READ_BYTES, Engine, EngineError, Output, ServiceState
from harness.engines.docker_client import PROJECT_LABEL, SERVICE_LABEL, client
from harness.waits import Predicate, WaitTimeoutError, wait_for

COMPOSE = ("docker", "compose", "--env-file", os.devnull)
"""`docker compose`, without reading an `.env` in the current folder; see `environment`."""
SIDECAR_PREFIX = "sidecar-"
"""Prefix of a service's name in the name of its `sidecar` container."""
REMOVED_SECONDS = 20
ARCHIVE_BYTES = 64_000
"""What a tar archive of one file has besides its content, at most."""
STATES = {
    "created": ServiceState.CREATED,
    "running": ServiceState.RUNNING,
    "paused": ServiceState.FROZEN,
    "restarting": ServiceState.RESTARTING,
}
"""Docker's names for a container's states; all others mean that it has exited."""


class DockerEngine(Engine):
    """The containers of one compose project.

    sockets: a folder on this machine with a subfolder for each service, by its name (see harness.compose).
    """

    def __init__(self, project: str, compose_file: Path, sockets: Path) -> None:
        super().__init__(project, compose_file)
        self._sockets = sockets
        self._client: docker.DockerClient | None = None

    @property
    def _docker(self) -> docker.DockerClient:
        """The Docker SDK's client. Raises EngineMissingError if no engine answers."""
        self._client = self._client or client()
        return self._client

    def up(self, content: Mapping[str, Any], inherit: Sequence[int] = ()) -> None:
        """See Engine.up."""
        self._compose("--file", str(self.compose_file), "up", "--no-start", "--pull", "never", inherit=inherit)
        docker_start.start_all(self._docker, self.project, content)

    def down(self) -> None:
        """See Engine.down: by the labels of containers, networks and volumes."""
        for container in self._all(docker_volumes.IDLE):  # unknown to compose: left by a process that was killed
            container.remove(force=True, v=True)
        self._compose("down", "--volumes", "--remove-orphans", "--timeout", "0")
        try:
            wait_for(Predicate("all_removed", lambda: ", ".join(self.leftovers()) or None), REMOVED_SECONDS)
        except WaitTimeoutError as error:
            raise EngineError(str(error)) from None

    def _compose(self, *arguments: str, inherit: Sequence[int] = ()) -> None:
        """Run `docker compose` on this project. Raises EngineError with the end of what it printed if it fails."""
        _ = self._docker  # its error is more specific than that of compose
        command = [*COMPOSE, "--progress", "plain", "--project-name", self.project, *arguments]
        try:
            result = subprocess.run(
                command, capture_output=True, text=True, pass_fds=tuple(inherit), env=environment(), check=False
            )
        except FileNotFoundError:
            raise _no_command() from None
        if result.returncode != 0:
            said = (result.stderr or result.stdout).strip().splitlines()[-12:]
            raise EngineError(f"docker compose {' '.join(arguments)} failed:\n" + "\n".join(said))

    def leftovers(self) -> list[str]:
        """See Engine.leftovers."""
        mine = {"label": f"{PROJECT_LABEL}={self.project}"}
        networks = [network.name for network in self._docker.networks.list(filters=mine)]
        volumes = [str(volume.id) for volume in self._docker.volumes.list(filters=mine)]
        return [_name(container) for container in self._all()] + [str(name) for name in networks] + volumes

    def states(self) -> dict[str, ServiceState]:
        """See Engine.states."""
        return {container.attrs["Labels"][SERVICE_LABEL]: _state(container) for container in self._all()}

    @recorded_of_service
    def start(self, service: str) -> None:
        """See Engine.start."""
        with _refused(f"{service} cannot be started"):
            self._container(service).start()

    @recorded_of_service
    def stop(self, service: str, timeout_seconds: int | None = None) -> None:
        """See Engine.stop."""
        limit = {} if timeout_seconds is None else {"timeout": timeout_seconds}
        with _refused(f"{service} cannot be stopped"):
            self._container(service).stop(**limit)

    @recorded_of_service
    def kill(self, service: str) -> None:
        """See Engine.kill."""
        with _refused(f"{service} cannot be killed"):
            container = self._container(service)
            container.kill()
            container.wait()

    @recorded_of_service
    def freeze(self, service: str) -> None:
        """See Engine.freeze: the freezer of the container's control group."""
        with _refused(f"{service} cannot be frozen"):
            self._container(service).pause()

    @recorded_of_service
    def unfreeze(self, service: str) -> None:
        """See Engine.unfreeze."""
        with _refused(f"{service} cannot be unfrozen"):
            self._container(service).unpause()

    def exit_code(self, service: str) -> int | None:
        """See Engine.exit_code."""
        container = self._container(service)
        container.reload()
        ended = _state(container) in (ServiceState.EXITED, ServiceState.RESTARTING)
        return int(container.attrs["State"]["ExitCode"]) if ended else None

    def output(self, service: str, command: Sequence[str]) -> Output:
        """See Engine.output."""
        with _refused(f"{service} cannot run {' '.join(command)}"):
            return docker_exec.run(self._docker, str(self._container(service).id), command)

    def run(self, service: str, command: Sequence[str]) -> int:
        """See Engine.run: the command `docker exec`, which handles terminals."""
        container = self._container(service)
        if container.status != "running":
            raise EngineError(f"{service} cannot run {' '.join(command)}: its container is {container.status}")
        flags = ["--interactive", *(["--tty"] if os.isatty(0) and os.isatty(1) else [])]
        try:
            return subprocess.run(["docker", "exec", *flags, str(container.id), *command], check=False).returncode
        except FileNotFoundError:
            raise _no_command() from None

    def logs(self, service: str, *, timestamps: bool = False, stderr: bool = True, tail: int | None = None) -> bytes:
        """See Engine.logs."""
        with _refused(f"the log of {service} cannot be read"):
            printed: bytes = self._container(service).logs(
                timestamps=timestamps, stderr=stderr, tail="all" if tail is None else tail
            )
        return printed

    def follow_logs(
        self, service: str, *, stderr: bool = True, tail: int | None = None, since_seconds: float | None = None
    ) -> Iterator[bytes]:
        """See Engine.follow_logs. Docker sends a long line in several pieces."""
        with _refused(f"the log of {service} cannot be read"):
            pieces = self._container(service).logs(
                stream=True,
                follow=True,
                timestamps=True,
                stderr=stderr,
                tail="all" if tail is None else tail,
                since=since_seconds,
            )
            rest = b""
            for piece in pieces:
                *lines, rest = (rest + piece).split(b"\n")
                yield from (line + b"\n" for line in lines)
            if rest:
                yield rest

    def read(self, service: str, path: str, most_bytes: int = MOST_READ_BYTES) -> bytes:
        """See Engine.read."""
        packed = bytearray()
        with _refused(f"{path} of {service} cannot be read"):
            try:
                chunks, _ = self._container(service).get_archive(path)
            except NotFound:
                raise EngineError(f"{service} has no file {path} (yet)") from None
            for chunk in chunks:
                packed += chunk
                if len(packed) > most_bytes + ARCHIVE_BYTES:
                    raise EngineError(f"{path} of {service} cannot be read: it has more than {most_bytes} bytes")
        try:
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                member = archive.next()
                file = archive.extractfile(member) if member is not None and member.isreg() else None
                if file is None:
                    raise EngineError(f"{path} of {service} cannot be read: it is not a regular file")
                return file.read()
        except tarfile.TarError as error:
            raise EngineError(f"{path} of {service} cannot be read: {error}") from None

    def write(self, service: str, path: str, content: bytes) -> None:
        """See Engine.write."""
        folder, _, name = path.rpartition("/")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(content))
        with _refused(f"{path} of {service} cannot be written"):
            self._container(service).put_archive(folder or "/", packed.getvalue())

    def address(self, service: str, port: int) -> str:
        """See Engine.address: the published port, whose number changes when the container is restarted."""
        container = self._container(service)
        for published in container.attrs["Ports"]:
            if published["PrivatePort"] == port and "PublicPort" in published:
                return f"{published['IP']}:{published['PublicPort']}"
        raise EngineError(f"{service} does not run (its container is {container.status}): no port {port}")

    def host(self, service: str) -> str:
        """See Engine.host: Docker's DNS resolves services by their names."""
        return service

    def socket(self, service: str, name: str) -> Path:
        """See Engine.socket: the folder is mounted into the container."""
        return self._sockets / service / name

    @contextmanager
    def sidecar(self, service: str) -> Iterator[str]:
        """See Engine.sidecar."""
        container = self._container(service)
        name = SIDECAR_PREFIX + service
        with _refused(f"no sidecar can run on the volumes of {service}"):
            other = self._docker.containers.run(
                container.attrs["ImageID"],
                ["infinity"],
                entrypoint=["sleep"],
                volumes_from=[str(container.id)],
                labels={PROJECT_LABEL: self.project, SERVICE_LABEL: name},
                detach=True,
            )
        try:
            yield name
        finally:
            other.remove(force=True)

    def save_volumes(self, name: str, facts: str) -> None:
        """See Engine.save_volumes."""
        with _refused(f"the volumes of {self.project} cannot be saved"), self._all_frozen():
            docker_volumes.save(self._docker, self.project, name, facts)

    @contextmanager
    def _all_frozen(self) -> Iterator[None]:
        frozen: list[Container] = []
        try:
            for container in self._all():
                if _state(container) is ServiceState.RUNNING:
                    container.pause()
                    frozen.append(container)
            yield
        finally:
            for container in frozen:
                container.unpause()

    def fill_volumes(self, name: str) -> None:
        """See Engine.fill_volumes."""
        with _refused(f"snapshot {name} cannot be restored"):
            docker_volumes.fill(self._docker, self.project, name)

    def fill_volumes_from(self, image: str, folders: Mapping[str, str]) -> None:
        """See Engine.fill_volumes_from."""
        with _refused(f"volumes cannot be filled from {image}"):
            docker_volumes.fill_from(self._docker, self.project, image, folders)

    def _container(self, service: str) -> Container:
        found = self._all(service)
        if not found:
            raise EngineError(f"testbed {self.project} has no container for {service}; is it up?")
        return found[0]

    def _all(self, service: str | None = None) -> list[Container]:
        """Return every container of the project (of one service), including stopped ones, as Docker lists it: in one
        request, and with other attributes than an inspected one has.
        """
        labels = [f"{PROJECT_LABEL}={self.project}"]
        if service:
            labels.append(f"{SERVICE_LABEL}={service}")
        return self._docker.containers.list(all=True, filters={"label": labels}, sparse=True)


def environment() -> dict[str, str]:
    """Return the environment for `docker compose`, without variables that configure the caller's own projects."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}


def _name(container: Container) -> str:
    return str(container.attrs["Names"][0]).lstrip("/")


def _state(container: Container) -> ServiceState:
    return STATES.get(container.status, ServiceState.EXITED)


def _no_command() -> EngineError:
    return EngineError("the command `docker` is not on PATH; install Docker's command line with its compose plugin")


@contextmanager
def _refused(what: str) -> Iterator[None]:
    try:
        yield
    except APIError as error:
        raise EngineError(f"{what}: {error.explanation}") from None
    except TimeoutError as error:
        raise EngineError(f"{what}: {error}") from None
