"""The control socket: a question, progress, one answer or refusal, and a sentence when nobody is there."""

import asyncio
import errno
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from asyncpay.service.common import control, control_client
from asyncpay.service.common.control import Progress, SocketError, Verb
from asyncpay.service.common.control_client import NotRunningError, Plain, RefusedError

STATUS = {"healthy": True, "blocks": ["x" * 100_000]}


async def _status(_: Mapping[str, Any], __: Progress) -> Plain:
    return STATUS


def _ask_while_serving(path: Path, verb: str = "status", serve: Verb = _status, **arguments: Any) -> list[Any]:
    """What the caller gets to hear, the progress first."""
    heard: list[Any] = []

    async def talk() -> None:
        async with control.serving(path, {"status": serve}):
            heard.append(await asyncio.to_thread(control_client.ask, path, verb, heard.append, **arguments))

    asyncio.run(talk())
    return heard


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lsp.sock"


def test_asked_and_answered(path: Path) -> None:
    assert _ask_while_serving(path) == [STATUS]
    assert path.stat().st_mode & 0o777 == 0o600


def test_progress_comes_before_the_answer(path: Path) -> None:
    async def count(said: Mapping[str, Any], progress: Progress) -> Plain:
        for number in range(said["upto"]):
            await progress(number)
        return "counted"

    assert _ask_while_serving(path, serve=count, upto=3) == [0, 1, 2, "counted"]


def test_a_refusal_has_its_reason(path: Path) -> None:
    async def refuse(*_: object) -> Plain:
        raise RefusedError("the moon is wrong")

    with pytest.raises(RefusedError, match="the moon is wrong"):
        _ask_while_serving(path, serve=refuse)


def test_a_verb_that_there_is_not(path: Path) -> None:
    with pytest.raises(RefusedError, match=r"not understood: .*dance"):
        _ask_while_serving(path, verb="dance")


def test_a_socket_left_by_a_killed_process_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    assert _ask_while_serving(path) == [STATUS]


def test_nobody_there(path: Path) -> None:
    with pytest.raises(NotRunningError, match=r"nothing answers at .*lsp\.sock"):
        control_client.ask(path, "status")


def test_another_user_is_told_whose_component_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's answer is imitated: it refuses nothing to root, who may run the tests."""

    class Forbidden(socket.socket):
        def connect(self, _: Any) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("asyncpay.service.common.control_client.socket.socket", Forbidden)
    with pytest.raises(NotRunningError, match=r"lsp\.sock cannot be asked: Permission denied\. Run .* as the user"):
        control_client.ask(path, "status")


def test_a_fault_of_ours_ends_that_request_only(path: Path) -> None:
    async def fail(*_: object) -> Plain:
        raise AssertionError("nobody foresaw this")

    with pytest.raises(RefusedError, match=r"unexpected error .*nobody foresaw this"):
        _ask_while_serving(path, serve=fail)


def test_a_path_that_cannot_be_listened_at(path: Path) -> None:
    path.mkdir()
    with pytest.raises(SocketError, match=r"cannot listen at .*lsp\.sock: .*Remove the file"):
        _ask_while_serving(path)


def test_whoever_still_waits_for_an_answer_holds_nobody_up(path: Path) -> None:
    """A component stops, or begins again, while a payment is followed; its command line is told that it went away."""
    begun = asyncio.Event()

    async def follow(*_: object) -> Plain:
        begun.set()
        await asyncio.Event().wait()

    async def talk() -> None:
        async with control.serving(path, {"pay": follow}):
            asking = asyncio.create_task(asyncio.to_thread(control_client.ask, path, "pay"))
            await begun.wait()
        async with asyncio.timeout(10):
            await asking

    with pytest.raises(NotRunningError, match="stopped before it answered"):
        asyncio.run(talk())


@pytest.mark.anyio
async def test_the_other_component_says_so(tmp_path: Path) -> None:
    """A wallet's question with the LSP's configuration."""

    async def status(_: Mapping[str, Any], __: Any) -> Any:
        return {}

    path = tmp_path / "sock"
    async with control.serving(path, {"status": status}, "LSP"):
        assert await asyncio.to_thread(control_client.ask, path, "status", lambda _: None, "LSP") == {}
        with pytest.raises(control_client.RefusedError, match="the LSP runs with this configuration, not the wallet"):
            await asyncio.to_thread(control_client.ask, path, "status", lambda _: None, "wallet")


@pytest.mark.anyio
@pytest.mark.parametrize("turns", range(8))
async def test_who_has_just_connected_is_not_left_waiting_at_the_end(tmp_path: Path, turns: int) -> None:
    """However far the component has come with the connection when it ends."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        async with control.serving(tmp_path / "sock", {}):
            client.connect(str(tmp_path / "sock"))
            for _ in range(turns):
                await asyncio.sleep(0)
        with suppress(ConnectionError):
            assert await asyncio.to_thread(client.recv, 1) == b""


def test_the_end_does_not_wait_for_who_does_not_read(path: Path) -> None:
    """Since Python 3.12 it would wait for ever; before, what was not read stayed in memory and was delivered later."""
    said = 0

    async def talk_for_ever(_: Mapping[str, Any], progress: Progress) -> Plain:
        nonlocal said
        while True:
            said += len(b'{"progress": ""}\n') + 10_000
            await progress("x" * 10_000)

    async def talk() -> bytes:
        async with asyncio.timeout(60):
            async with control.serving(path, {"follow": talk_for_ever}):
                with socket.socket(socket.AF_UNIX) as follower:
                    follower.connect(str(path))
                    follower.sendall(b'{"verb": "follow", "arguments": {}}\n')
                    before = -1
                    while before != said:  # until nothing more can be written
                        before = said
                        await asyncio.sleep(0.05)
                    kept = follower.dup()
            with kept:
                kept.settimeout(10)
                return await asyncio.to_thread(_read_all, kept)

    assert 0 < len(asyncio.run(talk())) < said


def _read_all(connection: socket.socket) -> bytes:
    read = b""
    while piece := connection.recv(1 << 16):
        read += piece
    return read
