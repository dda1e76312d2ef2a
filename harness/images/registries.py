"""Pulling from image registries, and finding out soon that one does not answer."""

import docker
import requests
from docker.auth import resolve_repository_name
from docker.errors import APIError

from harness.engines import docker_client
from harness.progress import Heartbeat, Report

ANSWER_SECONDS = 10
"""How long a registry may take to answer the engine before it counts as out of reach."""


class RegistryError(Exception):
    """An image cannot be pulled; the message names it and gives the registry's or the engine's reason."""


class Registries:
    """The registries as the engine reaches them. One that keeps it waiting is asked only once."""

    def __init__(self, client: docker.DockerClient) -> None:
        self._client = client
        self._impatient = docker_client.client(ANSWER_SECONDS)
        self._silent: dict[str, str] = {}

    def pull(self, reference: str, report: Report) -> None:
        """Pull an image, with progress. Raises RegistryError."""
        self._ask_for(reference)
        heartbeat = Heartbeat()
        layers: dict[str, str] = {}
        report(f"pulling {reference}")
        for event in self._client.api.pull(reference, stream=True, decode=True):
            if "error" in event:
                raise RegistryError(f"{reference} cannot be pulled: {event['error']}")
            layers[event.get("id", "")] = event.get("status", "")
            if heartbeat.due():
                done = sum(status in ("Pull complete", "Already exists") for status in layers.values())
                report(f"pulling {reference}: {done} of {len(layers)} layers")
        report(f"pulled {reference} in {heartbeat.elapsed_seconds:.1f} s")

    def _ask_for(self, reference: str) -> None:
        """Let the engine ask for the image's description: unlike a pull, that can be given a time limit."""
        registry, _ = resolve_repository_name(reference)
        if registry in self._silent:
            raise RegistryError(f"{reference} cannot be pulled: {self._silent[registry]}")
        try:
            self._impatient.images.get_registry_data(reference)
        except APIError as error:
            raise RegistryError(f"{reference} cannot be pulled: {error.explanation}") from error
        except requests.RequestException as error:
            self._silent[registry] = f"{registry} does not answer within {ANSWER_SECONDS} s"
            raise RegistryError(f"{reference} cannot be pulled: {self._silent[registry]}") from error
