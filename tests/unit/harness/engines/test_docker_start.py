"""The order in which a project's containers are started, and what they find."""

import io
import tarfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest
from docker.errors import APIError

from harness import compose
from harness.engines.base import EngineError
from harness.engines.docker_client import SERVICE_LABEL
from harness.engines.docker_start import start_all
from harness.services.push_gateway import Authority
from harness.topology import load

ENDED = {"condition": "service_completed_successfully"}


@dataclass
class FakeContainers:
    """The containers of a project. `done` is what was done to them, in order."""

    names: list[str]
    done: list[str] = field(default_factory=list)
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    exit_codes: dict[str, int] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    together: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))

    def list(self, **_: Any) -> list[Any]:
        return [self._container(name) for name in self.names]

    def _container(self, name: str) -> Any:
        def put_archive(path: str, content: bytes) -> None:
            assert path == "/"
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                members = {member.name: cast(Any, archive.extractfile(member)).read().decode() for member in archive}
            assert name not in self.files, "one archive for each container"
            self.files[name] = members

        def start() -> None:
            if name in self.refused:
                raise APIError("500", explanation="no such program")
            if name.startswith("node"):
                self.together.wait(30)
            self.done.append(f"start {name}")

        def wait(timeout: float) -> dict[str, int]:
            self.done.append(f"{name} ended")
            return {"StatusCode": self.exit_codes.get(name, 0)}

        return SimpleNamespace(attrs={"Labels": {SERVICE_LABEL: name}}, put_archive=put_archive, start=start, wait=wait)

    def start_all(self, content: dict[str, Any]) -> None:
        start_all(cast(docker.DockerClient, SimpleNamespace(containers=self)), "testbed-x", content)


NETWORK = {
    "services": {
        "lsp": {"depends_on": ["node-1"]},
        "node-1": {"depends_on": {"miner": ENDED}},
        "node-2": {"depends_on": {"miner": ENDED}},
        "miner": {"depends_on": ["bitcoind"]},
        "bitcoind": {},
    }
}


def test_each_waits_for_those_that_it_depends_on() -> None:
    """Nodes start at the same time, when the miner has ended."""
    containers = FakeContainers(list(NETWORK["services"]), together=threading.Barrier(2))
    containers.start_all(NETWORK)
    first, nodes, last = containers.done[:3], containers.done[3:5], containers.done[5:]
    assert first == ["start bitcoind", "start miner", "miner ended"]
    assert sorted(nodes) == ["start node-1", "start node-2"]
    assert last == ["start lsp"]


def test_a_service_that_fails_is_told_and_no_other_starts() -> None:
    containers = FakeContainers(list(NETWORK["services"]), exit_codes={"miner": 3})
    with pytest.raises(EngineError, match=r"^miner has failed with exit code 3, and other services wait for it$"):
        containers.start_all(NETWORK)
    assert containers.done[-1] == "miner ended"


def test_a_container_that_docker_refuses_is_named() -> None:
    containers = FakeContainers(list(NETWORK["services"]), refused={"bitcoind"})
    with pytest.raises(EngineError, match=r"^bitcoind cannot be started: no such program$"):
        containers.start_all(NETWORK)


def test_so_is_one_that_is_not_there() -> None:
    with pytest.raises(EngineError, match=r"^bitcoind cannot be started: compose has made no container for it$"):
        FakeContainers([]).start_all(NETWORK)


def test_a_condition_that_cannot_be_waited_for_is_refused_before_anything_starts() -> None:
    content = {"services": {"a": {}, "b": {"depends_on": {"a": {"condition": "service_healthy"}}}}}
    containers = FakeContainers(["a", "b"])
    with pytest.raises(EngineError, match=r"^b cannot be started: it waits for a with the condition 'service_healthy'"):
        containers.start_all(content)
    assert containers.done == []


def test_a_testbeds_containers_find_their_files() -> None:
    """Those of the shipped topology with components: as the compose file has them, each container's in one piece."""
    line = load("line")
    names = ["bitcoind", "push", "toxiproxy", "LSP_a-lsp", "LSP_b-lsp", *line.nodes]
    content = compose.render(line, "p", dict.fromkeys(names, "i"), "s", Path("/s"), Authority.for_server("push"))
    containers = FakeContainers(list(content["services"]))
    containers.start_all(content)
    wanted = {
        name: {c["target"].lstrip("/"): content["configs"][c["source"]]["content"] for c in service["configs"]}
        for name, service in content["services"].items()
        if "configs" in service
    }
    assert containers.files == wanted
    assert {"A", "LSP_a-lsp", "push", "toxiproxy"} <= containers.files.keys()
