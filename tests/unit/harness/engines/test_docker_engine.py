"""How `docker compose` is called."""

from pathlib import Path

import pytest

from harness.engines.docker import DockerEngine
from harness.errors import TestbedError


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` on PATH that tells how it was called."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n{ echo "called: $*"; env; } > "$0.called"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(DockerEngine, "_docker", None)
    monkeypatch.setattr("harness.engines.docker_start.start_all", lambda *_: None)
    return program


def test_compose_is_told_nothing_by_the_callers_folder_or_environment(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES", "COMPOSE_ENV_FILES"):
        monkeypatch.setenv(variable, "theirs")
    DockerEngine("testbed-x", Path("/state/x/compose.yaml"), Path("/state/x")).up({})
    said = docker.with_name("docker.called").read_text().splitlines()
    assert "--env-file /dev/null" in said[0]
    assert "--file /state/x/compose.yaml" in said[0]
    assert [line for line in said if line.startswith("COMPOSE_")] == []


def test_without_a_docker_command_there_is_a_sentence(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TestbedError, match="`docker` is not on PATH"):
        DockerEngine("testbed-x", Path("/state/x/compose.yaml"), Path("/state/x")).up({})
