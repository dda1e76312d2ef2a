"""How an LND's certificate and macaroon are had: from its container once, by all nodes at the same time."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import trustme

from harness.errors import NodeError
from harness.nodes.lnd_connection import LndConnection
from harness.progress import each
from tests.unit.harness.played_engine import PlayedEngine, Service

SECONDS = 30
PORT = 10009


@dataclass
class Containers(PlayedEngine):
    """LNDs that are reached at `reached_at`; each file can be read when `readers` ask for one at the same time."""

    reached_at: str = "127.0.0.1:1"
    macaroon: bytes = b"first"
    certificate: bytes = field(default_factory=lambda: trustme.CA().cert_pem.bytes())
    readers: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))

    def address(self, service: str, port: int) -> str:
        return self.reached_at

    def read(self, service: str, path: str, most_bytes: int = 0) -> bytes:
        self.readers.wait(SECONDS)
        self.done.append(f"read {path} of {service}")
        return self.macaroon if path == "macaroon" else self.certificate


@pytest.fixture
def engine(tmp_path: Path) -> Containers:
    return Containers({"A": Service(), "B": Service()}, compose_file=tmp_path / "compose.yaml")


@pytest.fixture
def macaroons(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Those that connections were made with."""
    used: list[bytes] = []

    def with_macaroon(channel: grpc.Channel, macaroon: bytes) -> grpc.Channel:
        used.append(macaroon)
        return channel

    monkeypatch.setattr("harness.nodes.lnd_connection.connection.with_macaroon", with_macaroon)
    return used


def connection(engine: Containers, name: str = "A") -> LndConnection:
    return LndConnection(name, engine, PORT, "certificate", "macaroon")


def test_nodes_do_not_wait_for_each_other(engine: Containers) -> None:
    engine.readers = threading.Barrier(2)
    each(lambda name: connection(engine, name).calls, ["A", "B"])
    assert len(engine.done) == 4


def test_the_next_command_does_not_read_them_again(engine: Containers, macaroons: list[bytes]) -> None:
    _ = connection(engine).calls
    engine.done.clear()
    _ = connection(engine).calls
    assert macaroons == [b"first", b"first"]
    assert engine.done == []


def test_it_does_when_the_container_was_started_again(engine: Containers, macaroons: list[bytes]) -> None:
    _ = connection(engine).calls
    engine.reached_at, engine.macaroon = "127.0.0.1:2", b"second"
    _ = connection(engine).calls
    assert macaroons == [b"first", b"second"]


def test_it_does_after_a_call_that_failed_with_kept_ones(engine: Containers, macaroons: list[bytes]) -> None:
    _ = connection(engine).calls
    engine.macaroon = b"second"
    again = connection(engine)
    _ = again.calls
    again.doubt()
    _ = again.calls
    again.doubt()  # they were read just now
    _ = again.calls
    assert macaroons == [b"first", b"first", b"second"]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"address": "127.0.0.1:1", "certificate": 1, "macaroon": ""}'])
def test_a_damaged_file_is_as_good_as_none(content: str, engine: Containers, macaroons: list[bytes]) -> None:
    _ = connection(engine).calls
    (file,) = (engine.compose_file.parent / "credentials").iterdir()
    file.write_text(content)
    _ = connection(engine).calls
    assert macaroons == [b"first", b"first"]


def test_nobody_else_can_read_them(engine: Containers) -> None:
    _ = connection(engine).calls
    folder = engine.compose_file.parent / "credentials"
    assert [path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())] == [0, 0]


def test_without_room_for_them_the_node_is_reached_all_the_same(engine: Containers, macaroons: list[bytes]) -> None:
    engine.compose_file = engine.compose_file.parent / "gone" / "compose.yaml"
    _ = connection(engine).calls
    assert macaroons == [b"first"]


def test_a_certificate_that_is_none_is_a_sentence(engine: Containers) -> None:
    engine.certificate = b"\xff\xfe"
    with pytest.raises(NodeError, match=r"^A cannot be reached: certificate is not a certificate$"):
        _ = connection(engine).calls
