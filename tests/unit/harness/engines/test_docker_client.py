"""Which Docker engine is asked, and what is said when it cannot be used: sentences, whatever the environment names."""

import hashlib
import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.engines import docker_client
from harness.engines.docker_client import EngineMissingError


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's folder of configuration, empty; no variable names an engine."""
    for variable in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


def describe_context(folder: Path, name: str, content: str) -> None:
    meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(content)


def problem() -> str:
    with pytest.raises(EngineMissingError) as error:
        docker_client.client(2)
    return str(error.value)


def test_a_current_context_that_is_not_there_is_named(environment: Path) -> None:
    (environment / "config.json").write_text('{"currentContext": "desktop-linux"}')
    assert "currentContext 'desktop-linux'" in problem()
    assert "there is no such context" in problem()
    assert "docker context use" in problem()


def test_so_is_one_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    assert "DOCKER_CONTEXT=gone" in problem()


@pytest.mark.parametrize(
    "content",
    ["", "{}", "not JSON", '{"Name": "x"}', "[]"],
)
def test_a_damaged_context_is_a_sentence(content: str, environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    describe_context(environment, "x", content)
    monkeypatch.setenv("DOCKER_CONTEXT", "x")
    assert "the docker context cannot be used (DOCKER_CONTEXT=x)" in problem()


@pytest.mark.parametrize("current", ["5", "[1]", '{"a": 1}'])
def test_so_is_a_configuration_that_names_none(current: str, environment: Path) -> None:
    (environment / "config.json").write_text('{"currentContext": ' + current + "}")
    assert "the docker context cannot be used" in problem()


@pytest.mark.parametrize(
    "address", ["tcp://other.invalid:2375", "tcp://192.0.2.1:2375", "ssh://root@other", "https://192.0.2.1:2376"]
)
def test_an_engine_of_another_machine_is_refused_before_anything_is_asked_of_it(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    assert f"{address} cannot be used: it is on another machine" in problem()


def test_one_of_a_context_too(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoints = {"docker": {"Host": "tcp://192.0.2.1:2375", "SkipTLSVerify": True}}
    describe_context(environment, "far", json.dumps({"Name": "far", "Metadata": {}, "Endpoints": endpoints}))
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    assert "tcp://192.0.2.1:2375 cannot be used: it is on another machine" in problem()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_one_that_this_machine_reaches_by_tcp_is_asked(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("DOCKER_HOST", f"tcp://{host}:{unused.getsockname()[1]}")
        assert "no Docker engine answers at" in problem()


@pytest.mark.parametrize(
    "address", ["foo", "tcp://", "tcp://127.0.0.1:port", "tcp://127.0.0.1:99999", "unix:///no/socket"]
)
def test_an_address_that_is_none_is_a_sentence(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    assert f"no Docker engine answers at {address}" in problem()


def test_the_doctor_tells_the_same(environment: Path) -> None:
    (environment / "config.json").write_text('{"currentContext": "desktop-linux"}')
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "currentContext" in " ".join(result.output.split())
