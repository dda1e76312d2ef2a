"""The server says where it is, or why it cannot be there, and ends when it is told to."""

import json
import signal
import socket
import subprocess
import sys
import webbrowser
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import httpx
import pytest

from harness.cli import ui
from harness.errors import TestbedError
from harness.ui import connections
from harness.ui.server import Address, Server
from harness.waits import Predicate, wait_for
from tests.support.played_ui import PlayedWatcher, recorded
from tests.support.served_ui import served


def test_it_listens_on_loopback_alone_unless_told_otherwise() -> None:
    with served(PlayedWatcher()) as url:
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{url}api/status", trust_env=False).json()["testbed"] == "line"
        assert "server" not in httpx.get(url, trust_env=False).headers


@pytest.mark.parametrize("bind", ["localhost", "evil.example", "", "127.0.0.1:80", "192.0.2.1"])
def test_an_address_that_cannot_be_had_is_a_sentence(bind: str) -> None:
    with pytest.raises(TestbedError, match=r"--bind"):
        Server(PlayedWatcher(), bind)


def test_a_port_that_is_taken_is_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(TestbedError, match="Choose another --port"):
            Server(PlayedWatcher(), port=taken.getsockname()[1])


def test_an_address_of_ipv6_has_brackets() -> None:
    assert Address("::1", 80, "t").url == "http://[::1]:80/t/"


def test_who_waits_for_an_event_is_answered_when_it_ends(capfd: pytest.CaptureFixture[str]) -> None:
    answers: list[httpx.Response] = []
    watcher = PlayedWatcher(events=recorded())
    with served(watcher) as url:
        question = f"{url}api/events?after={len(recorded())}&wait_seconds=25"
        reader = Thread(target=lambda: answers.append(httpx.get(question, trust_env=False, timeout=30)))
        reader.start()
        wait_for(Predicate("reader_waits", lambda: None if watcher.events._waiting else "nobody waits"))
    reader.join()
    assert [answer.json()["events"] for answer in answers] == [[]]
    assert "Traceback" not in capfd.readouterr().err


def opened(url: str, data: bytes) -> socket.socket:
    """A connection to the server, with this sent."""
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port), timeout=30)
    connection.sendall(data)
    return connection


def is_closed(connection: socket.socket) -> bool:
    """Wait until the server has closed it, or has sent anything."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


HALF_A_HEAD = b"GET / HTTP/1.1\r\nhost: "
REFUSED_AND_NO_BODY = (
    b"POST /x HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n"
)


@pytest.mark.parametrize("sent", [b"", HALF_A_HEAD, REFUSED_AND_NO_BODY], ids=["nothing", "half a head", "no body"])
def test_a_connection_that_sends_no_request_is_closed(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """It needs no token. A client that goes on sending single bytes keeps it no longer."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    with served(PlayedWatcher()) as url, opened(url, sent) as connection:
        said = bytearray()
        with suppress(ConnectionError):
            while received := connection.recv(1000):
                said += received
                connection.sendall(b"x")
        assert said.startswith(b"HTTP/1.1 403") == (sent == REFUSED_AND_NO_BODY)
        assert httpx.get(f"{url}api/status", trust_env=False).status_code == 200


def test_a_request_in_progress_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)
    with served(PlayedWatcher(events=recorded())) as url:
        question = f"{url}api/events?after={len(recorded())}&wait_seconds=0.5"
        assert httpx.get(question, trust_env=False).json()["events"] == []


def test_many_connections_that_send_nothing_keep_no_one_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_WAITING", 5)
    with served(PlayedWatcher()) as url, ExitStack() as stack:
        silent = [stack.enter_context(opened(url, HALF_A_HEAD)) for _ in range(20)]
        assert all(is_closed(connection) for connection in silent[:15]), "the oldest"
        with httpx.Client(trust_env=False) as browser:
            for _ in range(3):
                assert browser.get(f"{url}api/status").status_code == 200


def test_without_a_testbed_the_command_ends_with_a_sentence(tmp_path: Path) -> None:
    call = [sys.executable, "-c", "from harness.cli.main import main; main()", "ui", "--json"]
    done = subprocess.run(
        call, env={"TESTBED_STATE": str(tmp_path), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "no testbed is up; start one with `testbed up line`" in done.stderr


def test_the_command_prints_its_address_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    played = (
        "from harness.testbed import Testbed; from harness.ui import watcher; from tests.support.played_ui import *;"
        "watcher.Watcher = lambda name: PlayedWatcher();"
        "Testbed.attach = classmethod(lambda *_: PlayedTestbed(''));"
        "from harness.cli.main import main; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", played, "ui", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[4],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background begins without it
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = json.loads(process.stdout.readline())
        assert said["testbed"] == "line"
        assert said["api"] == f"{said['url']}api/"
        assert httpx.get(f"{said['api']}status", trust_env=False, timeout=30).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == ""


def test_the_browsers_command_line_does_not_have_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, int, str]] = []

    def open_(address: str) -> bool:
        file = Path(address.removeprefix("file://"))
        opened.append((address, file.stat().st_mode & 0o777, file.read_text()))
        return True

    monkeypatch.setattr(webbrowser, "open", open_)
    url = Address("127.0.0.1", 80, "s3cret").url
    with ui._opened(url):
        pass
    ((address, mode, content),) = opened
    assert ("s3cret" in address, mode, url in content) == (False, 0o600, True)
    assert not Path(address.removeprefix("file://")).exists()
