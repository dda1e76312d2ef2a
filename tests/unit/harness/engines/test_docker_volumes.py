"""Volumes as images, on a Docker engine that only keeps account of what it is asked for."""

import base64
import io
import json
from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest
from docker.errors import ImageNotFound

from harness.engines import docker_volumes
from harness.engines.base import EngineError, ServiceState
from harness.engines.docker import DockerEngine
from harness.engines.docker_client import PROJECT_LABEL
from harness.engines.docker_volumes import FACTS_LABEL, REPOSITORY, VOLUME_LABEL, VOLUMES_LABEL, DockerVolumeStore


class FakeContainer:
    def __init__(self, engine: "FakeDocker", name: str, status: str = "running") -> None:
        self.engine, self.name, self.status = engine, name, status
        self.attrs = {"Image": "sha256:bitcoind"}

    def pause(self) -> None:
        self.engine.done.append(f"pause {self.name}")

    def unpause(self) -> None:
        self.engine.done.append(f"unpause {self.name}")

    def get_archive(self, path: str) -> tuple[list[bytes], dict[str, Any]]:
        self.engine.done.append(f"read {path}")
        return [b"tar"], {}

    def remove(self, **_: Any) -> None:
        self.engine.done.append(f"remove {self.name}")


class FakeDocker:
    """containers, volumes and images are what a DockerClient has under these names."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.imported: list[str] = []
        self.answer = '{"status": "sha256:1"}'
        self.mounts: dict[str, Any] = {}
        self.labels: dict[str, str] = {}
        self.there = [FakeContainer(self, "A"), FakeContainer(self, "B", "exited")]
        self.volumes = SimpleNamespace(list=lambda **_: [], create=self.create_volume)
        self.containers = SimpleNamespace(list=lambda **_: self.there, create=self.create_container)
        self.images = SimpleNamespace(get=self.get_image, list=lambda *_, **__: [], remove=self.remove_image)
        self.api = SimpleNamespace(import_image_from_stream=self.import_image)

    def create_volume(self, name: str, labels: dict[str, str]) -> None:
        self.done.append(f"volume {name} of {labels[PROJECT_LABEL]}, there {labels[VOLUME_LABEL]}")

    def create_container(self, image: str, _: list[str], *, volumes: dict[str, Any], **__: Any) -> FakeContainer:
        self.done.append(f"create from {image}")
        self.mounts = volumes
        return FakeContainer(self, "idle")

    def import_image(self, stream: list[bytes], repository: str, tag: str, changes: list[str]) -> str:
        self.done.append(f"import {b''.join(stream).decode()} as {repository}:{tag}")
        self.imported = changes
        return self.answer

    def get_image(self, reference: str) -> Any:
        if not self.labels:
            raise ImageNotFound(reference)
        attrs = {"Created": "2026-11-27T19:31:23Z", "Size": 7}
        return SimpleNamespace(id=reference, labels=self.labels, attrs=attrs)

    def remove_image(self, reference: str, **_: Any) -> None:
        self.done.append(f"remove {reference}")


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def engine() -> FakeDocker:
    return FakeDocker()


def fill(engine: FakeDocker) -> None:
    docker_volumes.fill(cast(docker.DockerClient, engine), "testbed-x", "s")


def test_volumes_are_there_with_their_content_before_compose_looks(engine: FakeDocker) -> None:
    engine.labels = {VOLUMES_LABEL: coded('["A", "A-wallet"]')}
    fill(engine)
    assert engine.done == [
        "volume testbed-x_A of testbed-x, there A",
        "volume testbed-x_A-wallet of testbed-x, there A-wallet",
        f"create from {REPOSITORY}:s",
        "remove idle",
    ]
    assert {volume: mount["bind"] for volume, mount in engine.mounts.items()} == {
        "testbed-x_A": "/volumes/A",
        "testbed-x_A-wallet": "/volumes/A-wallet",
    }


def test_volumes_begin_with_folders_of_an_image(engine: FakeDocker) -> None:
    docker_volumes.fill_from(cast(docker.DockerClient, engine), "testbed-x", "wallets", {"A": "0", "B": "1"})
    assert {volume: mount["bind"] for volume, mount in engine.mounts.items()} == {
        "testbed-x_A": "/volumes/0",
        "testbed-x_B": "/volumes/1",
    }


@pytest.mark.parametrize(
    "label",
    [
        "",
        "no base64",
        coded("no JSON"),
        coded("5"),
        coded('["../A"]'),
        coded('["A/B"]'),
        coded('[["A"]]'),
        coded('[""]'),
    ],
)
def test_a_label_that_is_not_ours_makes_no_volume(label: str, engine: FakeDocker) -> None:
    engine.labels = {VOLUMES_LABEL: label}
    with pytest.raises(EngineError, match="snapshot s is damaged"):
        fill(engine)
    assert engine.done == []


def test_what_is_not_there_is_a_sentence(engine: FakeDocker) -> None:
    with pytest.raises(EngineError, match="there is no snapshot s"):
        fill(engine)


def saving(engine: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> DockerEngine:
    volume = SimpleNamespace(name="testbed-x_A", attrs={"Labels": {VOLUME_LABEL: "A"}})
    engine.volumes.list = lambda **_: [volume]
    monkeypatch.setattr(DockerEngine, "_docker", engine)
    return DockerEngine("testbed-x", cast(Any, None), cast(Any, None))


def test_what_runs_is_frozen_while_it_is_saved(engine: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ServiceState.EXITED.value == engine.there[1].status
    saving(engine, monkeypatch).save_volumes("s", 'facts with "quotes" and $dollars')
    assert engine.done == [
        "pause A",
        "create from sha256:bitcoind",
        "read /volumes",
        f"import tar as {REPOSITORY}:s",
        "remove idle",
        "unpause A",
    ]
    labels = dict(change.removeprefix("LABEL ").split("=", 1) for change in engine.imported)
    assert base64.b64decode(labels[FACTS_LABEL].strip('"')).decode() == 'facts with "quotes" and $dollars'
    assert json.loads(base64.b64decode(labels[VOLUMES_LABEL].strip('"'))) == ["A"]


def test_a_full_disk_is_told_and_the_testbed_goes_on(engine: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.answer = '{"status": "importing"}\r\n{"error": "no space left on device"}'
    with pytest.raises(EngineError, match="no space left on device"):
        saving(engine, monkeypatch).save_volumes("s", "")
    assert engine.done[-2:] == ["remove idle", "unpause A"]


def test_a_snapshot_travels_as_a_file(engine: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.labels = {VOLUMES_LABEL: coded('["A"]'), FACTS_LABEL: coded("facts")}
    monkeypatch.setattr(docker_volumes, "client", lambda: engine)
    file = io.BytesIO()
    DockerVolumeStore().export("ab", file)
    file.seek(0)

    accepted: list[tuple[str, str]] = []

    def accept(name: str, facts: str) -> None:
        accepted.append((name, facts))
        assert not any(done.startswith("import") for done in engine.done), "nothing is changed before"

    assert DockerVolumeStore().load(file, accept, 10**9).name == "ab"

    assert accepted == [("ab", "facts")]
    assert engine.done[-1] == f"import tar as {REPOSITORY}:ab"
    labels = dict(change.removeprefix("LABEL ").split("=", 1) for change in engine.imported)
    assert {name: label.strip('"') for name, label in labels.items()} == engine.labels


def test_only_our_own_images_are_snapshots(engine: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    def image(tag: str, created: str, label: str) -> Any:
        attrs = {"Created": created, "Size": 7}
        return SimpleNamespace(tags=[tag, "theirs:latest"], attrs=attrs, labels={FACTS_LABEL: label})

    younger = image(f"{REPOSITORY}:b", "2026-11-27T19:31:24.123456789Z", coded("facts"))
    older = image(f"{REPOSITORY}:a", "2026-11-27T19:31:23Z", "not coded")
    engine.images.list = lambda *_: [younger, older]
    monkeypatch.setattr(docker_volumes, "client", lambda: engine)
    found = DockerVolumeStore().saved()
    assert [(each.name, each.facts, each.size_bytes) for each in found] == [("a", "", 7), ("b", "facts", 7)]
