"""Start the containers that compose has created, in the order of `depends_on`.

`docker compose up` could do it, but it polls only every half second whether a service that others wait for has exited,
and it copies each file of a container separately, for which dockerd starts a process each time.
"""

import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from graphlib import TopologicalSorter
from typing import Any

import docker
import requests
from docker.errors import APIError
from docker.models.containers import Container

from harness.engines.base import EngineError
from harness.engines.docker_client import PROJECT_LABEL, SERVICE_LABEL
from harness.progress import each

STARTED, COMPLETED = "service_started", "service_completed_successfully"
"""The supported conditions of `depends_on`."""
END_SECONDS = 120
"""How long a service may run if others wait for its exit."""
CONFIG_MODE = 0o444
"""Compose's default mode of a config."""


def start_all(engine: docker.DockerClient, project: str, compose: Mapping[str, Any]) -> None:
    """Put the configs into all containers of a project, and start them.

    compose: the content of its compose file. Raises EngineError, also if a service fails for whose exit others wait.
    """
    services: Mapping[str, Any] = compose["services"]
    waits_for = {name: _dependencies(name, service) for name, service in services.items()}
    awaited = {name for conditions in waits_for.values() for name, each in conditions.items() if each == COMPLETED}
    found = engine.containers.list(all=True, filters={"label": f"{PROJECT_LABEL}={project}"}, sparse=True)
    containers = {container.attrs["Labels"][SERVICE_LABEL]: container for container in found}

    def start(name: str) -> None:
        with _refused(name, "be started"):
            if files := _configs(services[name], compose.get("configs", {})):
                containers[name].put_archive("/", _archive(files))
            containers[name].start()

    order = TopologicalSorter(waits_for)
    order.prepare()
    while order.is_active():
        names = order.get_ready()
        each(start, names)
        for name in awaited.intersection(names):
            _wait_for_end(name, containers[name])
        order.done(*names)


def _dependencies(name: str, service: Mapping[str, Any]) -> dict[str, str]:
    """Return the condition for each service that this one waits for. Raises EngineError for an unsupported one."""
    given = service.get("depends_on", [])
    if isinstance(given, list):
        return dict.fromkeys(given, STARTED)
    conditions = {other: details["condition"] for other, details in given.items()}
    for other, condition in conditions.items():
        if condition not in (STARTED, COMPLETED):
            raise EngineError(
                f"{name} cannot be started: it waits for {other} with the condition {condition!r}. Use {STARTED} or "
                f"{COMPLETED} in the compose file"
            )
    return conditions


def _configs(service: Mapping[str, Any], configs: Mapping[str, Any]) -> dict[str, str]:
    """The content of each config of a service, by its path in the container."""
    return {config["target"]: configs[config["source"]]["content"] for config in service.get("configs", ())}


def _archive(files: Mapping[str, str]) -> bytes:
    """A tar archive for the container's root."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, text in files.items():
            content = text.encode()
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode = len(content), CONFIG_MODE
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _wait_for_end(name: str, container: Container) -> None:
    with _refused(name, "be waited for"):
        code = int(container.wait(timeout=END_SECONDS)["StatusCode"])
    if code != 0:
        raise EngineError(f"{name} has failed with exit code {code}, and other services wait for it")


@contextmanager
def _refused(name: str, what: str) -> Iterator[None]:
    try:
        yield
    except APIError as error:
        raise EngineError(f"{name} cannot {what}: {error.explanation}") from None
    except requests.RequestException as error:
        raise EngineError(f"{name} cannot {what}: {error}") from None
    except KeyError:
        raise EngineError(f"{name} cannot {what}: compose has made no container for it") from None
