"""How `docker compose` is called, and files are read from containers."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.engines.base import EngineError
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


def engine_with(monkeypatch: pytest.MonkeyPatch, content: Iterator[bytes]) -> DockerEngine:
    """An engine in whose only container every path has this."""

    def get_archive(path: str) -> tuple[Iterator[bytes], dict[str, Any]]:
        return content, {}

    monkeypatch.setattr(DockerEngine, "_container", lambda *_: SimpleNamespace(get_archive=get_archive))
    return DockerEngine("testbed-x", Path("/state/x/compose.yaml"), Path("/state/x"))


def archive(member: tarfile.TarInfo, content: bytes = b"") -> Iterator[bytes]:
    member.size = len(content)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as file:
        file.addfile(member, io.BytesIO(content))
    yield packed.getvalue()


def test_a_file_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    file = tarfile.TarInfo("tls.cert")
    assert engine_with(monkeypatch, archive(file, b"\xff\0")).read("A", "/tls.cert", 2) == b"\xff\0"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_what_is_not_a_file_is_a_sentence(kind: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's snapshot may hold it."""
    member = tarfile.TarInfo("tls.cert")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(EngineError, match=r"^/tls.cert of A cannot be read: it is not a regular file$"):
        engine_with(monkeypatch, archive(member)).read("A", "/tls.cert")


def test_so_is_an_archive_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"^/tls.cert of A cannot be read: "):
        engine_with(monkeypatch, iter([b"x" * 600])).read("A", "/tls.cert")


def test_too_large_a_file_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    read_bytes = 0

    def endless() -> Iterator[bytes]:
        nonlocal read_bytes
        while True:
            read_bytes += 10_000
            yield bytes(10_000)

    with pytest.raises(EngineError, match=r"^/tls.cert of A cannot be read: it has more than 50000 bytes$"):
        engine_with(monkeypatch, endless()).read("A", "/tls.cert", 50_000)
    assert read_bytes < 200_000
