"""What a command in a container printed, from an engine whose whole answer comes in one packet."""

import json
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import docker
import pytest
from docker.errors import APIError

from harness.engines import docker_exec
from harness.engines.base import Output
from harness.engines.docker_exec import STDERR, STDOUT

GIVEN_UP = threading.Event()


def piece(stream: int, text: str) -> bytes:
    return struct.pack(">BxxxI", stream, len(text)) + text.encode()


class Engine(BaseHTTPRequestHandler):
    """Runs nothing in a container that is stopped, and says the same in every other one."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/containers/running/exec"):
            self.answer(201, json.dumps({"Id": "e1"}).encode())
        elif self.path.endswith("/containers/silent/exec"):
            self.answer(201, json.dumps({"Id": "silent"}).encode())
        elif self.path.endswith("/exec/silent/start"):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n")
            self.wfile.flush()
            GIVEN_UP.wait(10)
        elif self.path.endswith("/containers/stopped/exec"):
            self.answer(409, b'{"message": "it is not running"}')
        else:
            assert json.loads(body) == {"Detach": False, "Tty": False}
            said = piece(STDOUT, "hel") + piece(STDERR, "well\n") + piece(STDOUT, "lo\n")
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n" + said)

    def do_GET(self) -> None:
        self.answer(200, b'{"ExitCode": 3}')

    def answer(self, code: int, body: bytes) -> None:
        head = f"HTTP/1.1 {code} So\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[docker.DockerClient]:
    with ThreadingUnixStreamServer(str(tmp_path / "docker.sock"), Engine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield docker.DockerClient(base_url=f"unix://{tmp_path}/docker.sock", version="1.41")
        server.shutdown()


def test_nothing_is_lost_of_what_comes_with_the_answers_head(engine: docker.DockerClient) -> None:
    assert docker_exec.run(engine, "running", ["greet"]) == Output("hello\n", "well\n", 3)


def test_a_container_that_runs_nothing_is_an_error_in_the_engines_words(engine: docker.DockerClient) -> None:
    with pytest.raises(APIError, match="it is not running"):
        docker_exec.run(engine, "stopped", ["greet"])


def test_a_command_that_stands_still_is_given_up(engine: docker.DockerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_exec, "MAX_SILENT_SECONDS", 0.1)
    try:
        with pytest.raises(TimeoutError, match="printed nothing for"):
            docker_exec.run(engine, "silent", ["wait"])
    finally:
        GIVEN_UP.set()
