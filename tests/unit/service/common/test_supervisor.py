"""What systemd is told of a component, over a socket like systemd's."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncpay.service.common.supervisor import notify, supervised, watchdog_seconds

WAIT_SECONDS = 120


class Systemd:
    """The receiver of a unit's notifications."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.settimeout(WAIT_SECONDS)

    def received(self) -> str:
        return self._socket.recv(4096).decode()

    def is_silent(self) -> bool:
        self._socket.setblocking(False)
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(WAIT_SECONDS)
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    receiver = Systemd(tmp_path)
    yield receiver
    receiver.close()


async def until(systemd: Systemd, state: str) -> None:
    while await asyncio.to_thread(systemd.received) != state:
        pass


def test_start_life_and_stop_are_reported(systemd: Systemd) -> None:
    environment = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())}

    async def component() -> None:
        async with supervised(environment):
            assert await asyncio.to_thread(systemd.received) == "READY=1"
            for _ in range(3):
                assert await asyncio.to_thread(systemd.received) == "WATCHDOG=1"

    asyncio.run(component())
    asyncio.run(until(systemd, "STOPPING=1"))
    assert systemd.is_silent()


def test_an_event_loop_that_stands_still_reports_no_life(systemd: Systemd) -> None:
    """The reports must come from the loop itself: from a thread they would go on while it stands still."""
    environment = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "100000"}

    async def component() -> None:
        async with supervised(environment):
            assert await asyncio.to_thread(systemd.received) == "READY=1"
            await until(systemd, "WATCHDOG=1")
            while not systemd.is_silent():
                pass
            signal.sigtimedwait((), 0.3)  # the loop stands still for several intervals
            assert systemd.is_silent()

    asyncio.run(component())


def test_without_systemd_nothing_is_sent() -> None:
    async def component() -> None:
        async with supervised({}):
            await asyncio.sleep(0)

    asyncio.run(component())


@pytest.mark.parametrize("address", ["", "relative", "/gone", "/" + "a" * 200, "@", "vsock:2:1234", "/a\0b"])
def test_a_socket_that_cannot_be_reached_ends_nothing(address: str) -> None:
    notify({"NOTIFY_SOCKET": address}, "READY=1")


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "120000000"}, 60),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "me"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "9" * 400}, None),
        ({"WATCHDOG_USEC": "1"}, 0.05),
    ],
)
def test_the_interval_is_half_of_the_unit_s_limit(environment: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environment) == seconds


@pytest.mark.parametrize("command", [["lsp"], ["wallet", "run"]])
def test_a_component_is_ready_before_its_node_is(tmp_path: Path, systemd: Systemd, command: list[str]) -> None:
    config = tmp_path / "config.toml"
    node = f"[node]\nimplementation = 'cln'\nrpc_file = '{tmp_path / 'none'}'\n"
    config.write_text(f"{node}[store]\npath = '{tmp_path / 'store.sqlite'}'\n")
    process = subprocess.Popen(
        [Path(sys.executable).with_name("asyncpay"), *command, "--config", config],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"NOTIFY_SOCKET": str(systemd.path)},
    )
    try:
        assert systemd.received() == "READY=1"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT_SECONDS)
    assert systemd.received() == "STOPPING=1"
    assert process.returncode == 0
