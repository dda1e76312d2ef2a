"""Registries that do not answer, or refuse: found out soon, and said with the reason."""

from collections.abc import Iterator, Sequence
from typing import cast

import docker
import pytest
import requests
from docker.errors import APIError, NotFound

from harness.images import store
from harness.images.store import Registries, RegistryError


class FakeClient:
    """An engine whose question to a registry ends in `error`, and whose pulls give `events`."""

    def __init__(self, error: Exception | None = None, events: Sequence[dict[str, str]] = ()) -> None:
        self.error, self.events = error, events
        self.questions: list[str] = []
        self.images = self.api = self

    def get_registry_data(self, reference: str) -> None:
        self.questions.append(reference)
        if self.error:
            raise self.error

    def pull(self, reference: str, *, stream: bool, decode: bool) -> Iterator[dict[str, str]]:
        assert stream
        assert decode
        return iter(self.events)


def registries_of(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> Registries:
    monkeypatch.setattr(store, "client", lambda timeout_seconds: client)
    return Registries(cast(docker.DockerClient, client))


def test_a_registry_that_keeps_the_engine_waiting_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient(requests.ReadTimeout("slow"))
    silent = registries_of(client, monkeypatch)
    for reference in ("a/lnd:1", "b/cln:2"):
        with pytest.raises(
            RegistryError, match=rf"{reference} cannot be pulled: docker\.io does not answer within 10 s"
        ):
            silent.pull(reference, pytest.fail)
    assert client.questions == ["a/lnd:1"]
    with pytest.raises(RegistryError):
        silent.pull("registry.example/c:3", pytest.fail)
    assert client.questions == ["a/lnd:1", "registry.example/c:3"]


@pytest.mark.parametrize(
    "error",
    [
        NotFound("404 Not Found", explanation="manifest unknown"),
        # The engine's status does not tell a registry that refuses from one that is out of reach.
        APIError("500 Server Error", explanation="no basic auth credentials"),
    ],
)
def test_a_refusal_concerns_that_image_only(error: APIError, monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient(error)
    answering = registries_of(client, monkeypatch)
    for reference in ("a/lnd:1", "b/cln:2"):
        with pytest.raises(RegistryError, match=f"{reference} cannot be pulled: {error.explanation}"):
            answering.pull(reference, pytest.fail)
    assert client.questions == ["a/lnd:1", "b/cln:2"]


def test_a_pull_that_breaks_off_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient(events=[{"id": "1", "status": "Downloading"}, {"error": "unexpected EOF"}])
    with pytest.raises(RegistryError, match="a/lnd:1 cannot be pulled: unexpected EOF"):
        registries_of(client, monkeypatch).pull("a/lnd:1", lambda line: None)


def test_a_pull_tells_its_beginning_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    client = FakeClient(events=[{"id": "1", "status": "Pull complete"}])
    registries_of(client, monkeypatch).pull("a/lnd:1", lines.append)
    assert lines[0] == "pulling a/lnd:1"
    assert lines[-1].startswith("pulled a/lnd:1 in ")
