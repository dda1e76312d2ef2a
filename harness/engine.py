"""The Docker engine that the testbed runs on: the one that the `docker` command would use."""

import os

import docker
from docker.context import ContextAPI
from docker.errors import DockerException

from harness.errors import TestbedError


class EngineMissingError(TestbedError):
    """No Docker engine answers; the message says which one was asked."""


def client(timeout_seconds: int = 60) -> docker.DockerClient:
    """Connect to the engine of DOCKER_HOST, else of DOCKER_CONTEXT, else of the current docker context.

    Raises EngineMissingError if it does not answer.
    """
    address = os.environ.get("DOCKER_HOST")
    try:
        if address:
            engine = docker.from_env(timeout=timeout_seconds, use_ssh_client=True)
        else:
            context = ContextAPI.get_context(os.environ.get("DOCKER_CONTEXT"))
            if context is None:
                raise EngineMissingError(f"there is no docker context named {os.environ['DOCKER_CONTEXT']!r}")
            address = context.Host
            engine = docker.DockerClient(
                base_url=address, tls=context.TLSConfig, timeout=timeout_seconds, use_ssh_client=True
            )
        engine.ping()
    except (DockerException, OSError) as error:
        raise EngineMissingError(
            f"no Docker engine answers at {address} ({_root_cause(error)}); start it, or run `make engine`"
        ) from error
    return engine


def _root_cause(error: BaseException) -> BaseException:
    while error.__context__ is not None:
        error = error.__context__
    return error
