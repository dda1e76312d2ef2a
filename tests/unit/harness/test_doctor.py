"""The doctor: every finding in its right state, with something to do about it."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

from harness import doctor
from harness.doctor import Check, State
from harness.engines.docker_client import EngineMissingError
from harness.images import store
from harness.images.install_tree import InstallTree
from harness.images.kinds import kinds

from .fake_docker import FakeEngine

OUTPUTS = {("docker", "compose"): "2.40.3-3", ("go", "version"): "go version go1.26.8 linux/amd64"}
GIGABYTE = 10**9


@pytest.fixture
def engine() -> FakeEngine:
    fake = FakeEngine({store.ways(kind)[0].reference for kind in kinds()})
    fake.about = {"ServerVersion": "28.2.2", "OperatingSystem": "Debian", "DockerRootDir": "/"}
    return fake


@pytest.fixture(autouse=True)
def machine(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has everything."""
    monkeypatch.setattr(doctor, "client", lambda: engine)
    monkeypatch.setattr(store, "client", lambda: engine)
    monkeypatch.setattr(doctor, "_output", lambda *command: OUTPUTS[command[:2]])
    monkeypatch.setattr(InstallTree, "from_path", classmethod(lambda cls, kind: cls(kind, "/opt/cln", "PATH")))
    monkeypatch.setattr(InstallTree, "fingerprint", lambda tree: "0")
    monkeypatch.setattr(InstallTree, "version", lambda tree: "v26.06.6")
    disk_with(monkeypatch, 100 * GIGABYTE)
    for variable in ("LND_PREFIX", "CLN_PREFIX"):
        monkeypatch.delenv(variable, raising=False)


def disk_with(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    usage = SimpleNamespace(free=free_bytes)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)


def finding(name: str) -> Check:
    (check,) = [check for check in doctor.checks() if check.name == name]
    assert check.remedy or check.state is State.OK, "a finding that is not well needs a remedy"
    return check


def test_a_machine_with_everything_is_well() -> None:
    assert [check for check in doctor.checks() if check.state is not State.OK] == []


def test_without_an_engine_the_rest_is_looked_at_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_engine() -> NoReturn:
        raise EngineMissingError("no Docker engine answers at unix:///var/run/docker.sock (refused)")

    monkeypatch.setattr(doctor, "client", no_engine)
    assert finding("Docker engine").state is State.MISSING
    assert "unix:///var/run/docker.sock" in finding("Docker engine").detail
    assert finding("Go").state is State.OK


def test_an_image_that_can_be_made_is_a_warning_with_its_source(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.present.clear()
    monkeypatch.setattr(InstallTree, "from_path", classmethod(lambda cls, kind: None))
    monkeypatch.setattr(store, "_obstacle", lambda engine, recipe: None)
    assert finding("image of lnd").state is State.WARNING
    assert "made from its Go module" in finding("image of lnd").detail
    assert finding("image of lnd").remedy == "testbed images"
    assert "CLN_PREFIX" in finding("image of cln").remedy
    assert "made from this checkout" in finding("image of asyncpay").detail


def test_a_prefix_without_a_tree_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLN_PREFIX", str(tmp_path))
    assert finding("image of cln").state is State.MISSING
    assert f"CLN_PREFIX: {tmp_path} has no" in finding("image of cln").detail


@pytest.mark.parametrize("version", ["", "1.29.2"])
def test_compose_of_version_1_does_not_count(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OUTPUTS, ("docker", "compose"), version)
    assert finding("docker compose").state is State.MISSING


def test_no_go_is_only_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OUTPUTS, ("go", "version"), "")
    assert finding("Go").state is State.WARNING


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    disk_with(monkeypatch, 2 * GIGABYTE)
    assert finding("disk").state is State.WARNING
    assert finding("disk").detail.startswith("2 GB free")


def test_another_version_of_lightningd_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InstallTree, "version", lambda tree: "v25.02")
    assert finding("lightningd").state is State.WARNING
    assert "v26.06.6" in finding("lightningd").remedy
