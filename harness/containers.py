"""One compose project's containers: started and removed by `docker compose`, looked into with the Docker SDK."""

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from harness import container_exec
from harness.container_exec import Output
from harness.engine import client
from harness.errors import TestbedError
from harness.topology import BESIDE_PREFIX

COMPOSE = ("docker", "compose", "--env-file", os.devnull)
"""`docker compose` that reads no `.env` of the folder it is called in; see `environment`."""
LAST_LINES = 8
"""How much of a log an error message quotes."""
PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"


class ContainerError(TestbedError):
    """A container or `docker compose` did not do what was asked; the message holds its own words."""


class Containers:
    """The containers of one project, by the name of their service."""

    def __init__(self, project: str, compose_file: Path) -> None:
        self.project = project
        self.compose_file = compose_file
        self._engine: docker.DockerClient | None = None

    @property
    def engine(self) -> docker.DockerClient:
        """The Docker SDK's client. Raises EngineMissingError if no engine answers."""
        self._engine = self._engine or client()
        return self._engine

    def compose(self, *arguments: str, by_name: bool = False, inherit: Sequence[int] = ()) -> str:
        """Run `docker compose` on this project and return what it printed.

        by_name: go by the labels of containers, networks and volumes, whatever the compose file says.
        inherit: file descriptors that the child keeps open (a lock that must outlive us).
        Raises ContainerError with the end of what it printed if it failed.
        """
        _ = self.engine  # says better than compose what is wrong with it
        command = [*COMPOSE, "--progress", "plain", "--project-name", self.project]
        if not by_name:
            command += ["--file", str(self.compose_file)]
        try:
            result = subprocess.run(
                [*command, *arguments],
                capture_output=True,
                text=True,
                pass_fds=tuple(inherit),
                env=environment(),
                check=False,
            )
        except FileNotFoundError:
            raise _no_command() from None
        if result.returncode != 0:
            said = (result.stderr or result.stdout).strip().splitlines()[-12:]
            raise ContainerError(f"docker compose {' '.join(arguments)} failed:\n" + "\n".join(said))
        return result.stdout

    def container(self, service: str) -> Container:
        """The container of a service, running or not. Raises ContainerError if there is none."""
        found = self.all(service)
        if not found:
            raise ContainerError(f"testbed {self.project} has no container for {service}; is it up?")
        return found[0]

    def all(self, service: str | None = None) -> list[Container]:
        """Every container of the project (of one service), stopped ones included."""
        labels = [f"{PROJECT_LABEL}={self.project}"]
        if service:
            labels.append(f"{SERVICE_LABEL}={service}")
        return self.engine.containers.list(all=True, filters={"label": labels}, ignore_removed=True)

    def states(self) -> dict[str, str]:
        """Docker's word for the state of each service's container: running, exited, paused, ..."""
        return {container.labels[SERVICE_LABEL]: container.status for container in self.all()}

    def address(self, service: str, port: int) -> str:
        """Where on this machine a container's published TCP port answers, as host:port.

        The number changes when the container is started again. Raises ContainerError.
        """
        container = self.container(service)
        published = container.attrs["NetworkSettings"]["Ports"].get(f"{port}/tcp")
        if not published:
            raise ContainerError(f"{service} does not run (its container is {container.status}): no port {port}")
        return f"{published[0]['HostIp']}:{published[0]['HostPort']}"

    def read(self, service: str, path: str) -> bytes:
        """One file's content out of a container. Raises ContainerError if it is not there."""
        try:
            chunks, _ = self.container(service).get_archive(path)
        except NotFound:
            raise ContainerError(f"{service} has no file {path} (yet)") from None
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            member = archive.extractfile(archive.getmembers()[0])
            if member is None:
                raise ContainerError(f"{service}: {path} is not a file")
            return member.read()

    def run(self, service: str, command: Sequence[str]) -> int:
        """Run a command inside a container with this terminal's input and output; its exit code.

        Raises ContainerError if nothing runs there.
        """
        container = self.container(service)
        if container.status != "running":
            raise ContainerError(f"{service} cannot run {' '.join(command)}: its container is {container.status}")
        flags = ["--interactive", *(["--tty"] if os.isatty(0) and os.isatty(1) else [])]
        try:
            return subprocess.run(["docker", "exec", *flags, str(container.id), *command], check=False).returncode
        except FileNotFoundError:
            raise _no_command() from None

    def output(self, service: str, command: Sequence[str]) -> Output:
        """Run a command inside a container, whatever its exit code. Raises ContainerError if nothing runs there."""
        with _refused(f"{service} cannot run {' '.join(command)}"):
            return container_exec.run(self.engine, str(self.container(service).id), command)

    @contextmanager
    def beside(self, service: str) -> Iterator[Container]:
        """A container that idles on the disks of a service, be that running or not."""
        container = self.container(service)
        with _refused(f"nothing can run beside {service}"):
            other = self.engine.containers.run(
                container.attrs["Image"],
                ["infinity"],
                entrypoint=["sleep"],
                volumes_from=[str(container.id)],
                labels={PROJECT_LABEL: self.project, SERVICE_LABEL: BESIDE_PREFIX + service},
                detach=True,
            )
        try:
            yield other
        finally:
            other.remove(force=True)

    def stop(self, service: str) -> None:
        """Let what runs in a container shut down in good order; it is killed when its grace period is over."""
        with _refused(f"{service} cannot be stopped"):
            self.container(service).stop()

    def kill(self, service: str) -> None:
        """Kill what runs in a container where it stands (SIGKILL); returns when it is gone."""
        with _refused(f"{service} cannot be killed"):
            container = self.container(service)
            container.kill()
            container.wait()

    def start(self, service: str) -> None:
        """Start a container again that was stopped or killed, with its files as they were left."""
        with _refused(f"{service} cannot be started"):
            self.container(service).start()

    def logs(self, service: str, stderr: bool = True) -> bytes:
        """All that the service's container printed so far, each line with its time. stderr: that of it, too."""
        return self.container(service).logs(timestamps=True, stderr=stderr)

    def last_lines(self, service: str, before: str = "") -> str:
        """The end of what the service's container printed, indented.

        before: up to the last line that has this in it, of what is not JSON (the other programs of a phone write that).
        """
        printed = self.container(service).logs(tail=200).decode(errors="replace").splitlines()
        if ends := [number for number, line in enumerate(printed) if before and before in line]:
            printed = [line for line in printed[: ends[-1]] if not line.startswith("{")]
        return "\n".join(f"  {line}" for line in printed[-LAST_LINES:])

    def leftovers(self) -> list[str]:
        """What of this project the engine still has: containers, networks and volumes, by name."""
        mine = {"label": f"{PROJECT_LABEL}={self.project}"}
        networks = [network.name for network in self.engine.networks.list(filters=mine)]
        volumes = [str(volume.id) for volume in self.engine.volumes.list(filters=mine)]
        return [str(container.name) for container in self.all()] + [str(name) for name in networks] + volumes


def environment() -> dict[str, str]:
    """Return the environment for `docker compose`, without what configures projects of the caller's own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}


def _no_command() -> ContainerError:
    return ContainerError("the command `docker` is not on PATH; install Docker's command line with its compose plugin")


def json_lines(log: bytes) -> list[dict[str, Any]]:
    """The JSON objects of a log that has one in each line; other lines, and one cut short by SIGKILL, are left out."""
    return [event for event in map(_json_object, log.splitlines()) if event is not None]


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


@contextmanager
def _refused(what: str) -> Iterator[None]:
    try:
        yield
    except APIError as error:
        raise ContainerError(f"{what}: {error.explanation}") from None
