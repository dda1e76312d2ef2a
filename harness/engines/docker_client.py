"""The Docker engine that the testbed runs on: the same one that the `docker` command uses."""

import contextlib
import os
import socket
from urllib.parse import urlsplit

import docker
from docker.context import Context, ContextAPI
from docker.context.config import get_current_context_name
from docker.errors import DockerException

from harness import paths
from harness.errors import TestbedError

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
"""The labels by which compose identifies containers, networks and volumes."""


class EngineMissingError(TestbedError):
    """No Docker engine can be used; the message says which one was tried, and why it failed."""


def client(timeout_seconds: int = 60) -> docker.DockerClient:
    """Connect to the engine of DOCKER_HOST, else of DOCKER_CONTEXT, else of the current docker context.

    Raises EngineMissingError if it does not answer, or is on another machine.
    """
    if address := os.environ.get("DOCKER_HOST"):
        context = None
    else:
        context = _context()
        address = str(context.Host)
    _refuse_other_machine(address)
    try:
        if context is None:
            engine = docker.from_env(timeout=timeout_seconds)
        else:
            engine = docker.DockerClient(base_url=address, tls=context.TLSConfig, timeout=timeout_seconds)
        engine.ping()
    except (DockerException, OSError, ValueError) as error:
        advice = ", or run `make engine`" if paths.CHECKOUT else ""
        raise EngineMissingError(
            f"no Docker engine answers at {address} ({_root_cause(error)}); start it{advice}"
        ) from error
    return engine


def _context() -> Context:
    """Return the docker context that the `docker` command uses. Raises EngineMissingError."""
    variable = os.environ.get("DOCKER_CONTEXT")
    named_by = (
        f"DOCKER_CONTEXT={variable}"
        if variable
        else f"currentContext {get_current_context_name()!r} in Docker's config.json"
    )
    advice = "Choose another with `docker context use`, or set DOCKER_HOST"
    try:
        context = ContextAPI.get_context(variable)
        if context is not None and context.Host:
            return context
        problem = "there is no such context" if context is None else "it names no engine"
    except KeyError as error:
        problem = f"the context's description lacks the entry {error}"
    except Exception as error:  # the SDK raises plain Exceptions for files that it cannot read
        problem = str(error)
    raise EngineMissingError(f"the docker context cannot be used ({named_by}): {problem}. {advice}")


def _refuse_other_machine(address: str) -> None:
    """Raise EngineMissingError if the address is not one of this machine's.

    Ports are published on 127.0.0.1 of the engine's machine, and sockets are shared with it through a folder.
    """
    parts = urlsplit(address)
    over_network = parts.scheme in ("tcp", "http", "https") and parts.hostname and not _is_here(parts.hostname)
    if not (over_network or parts.scheme == "ssh"):
        return
    raise EngineMissingError(
        f"the Docker engine at {address} cannot be used: it is on another machine, and the testbed reaches its "
        "containers through 127.0.0.1 and through sockets in a folder. Run the testbed on that machine, or unset "
        "DOCKER_HOST and DOCKER_CONTEXT"
    )


def _is_here(host: str) -> bool:
    """Whether a host is this machine: only its own addresses can be bound to. A name without an address is not."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, kind, protocol, _, address in found:
        with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
            return True
    return False


def _root_cause(error: BaseException) -> BaseException:
    while error.__context__ is not None:
        error = error.__context__
    return error
