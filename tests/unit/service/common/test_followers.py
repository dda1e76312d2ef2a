"""Who watches the event log gets its lines, and cannot make the component wait."""

import asyncio
import io
import json
import socket
from pathlib import Path

import pytest

from asyncpay.service.common import control, followers
from asyncpay.service.common.event_log import EventLog

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def connected(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(json.dumps({"verb": "follow", "arguments": {}}).encode() + b"\n")
    return reader, writer


async def until_followed(log: EventLog, count: int) -> None:
    async with asyncio.timeout(10):
        while len(log.followers._followers) != count:  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0)


async def test_each_line_reaches_all_who_follow_and_the_log_itself(tmp_path: Path) -> None:
    stream = io.StringIO()
    log, path = EventLog(stream), tmp_path / "x.sock"
    async with control.serving(path, {"follow": log.followers.follow}, "LSP"):
        connections = [await connected(path) for _ in range(2)]
        await until_followed(log, 2)
        log.write("held", block=bytes(32))
        for reader, _ in connections:
            said = json.loads(await asyncio.wait_for(reader.readline(), 10))["progress"]
            assert said == json.loads(stream.getvalue())
            assert said["block"] == "00" * 32


async def test_one_who_does_not_read_loses_lines_and_is_told_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "MOST_WAITING_LINES", 3)
    log = EventLog(io.StringIO())
    with log.followers.one_more() as follower:
        for number in range(10):
            log.write("part", number=number)
        async with asyncio.timeout(10):
            taken = [await follower.next() for _ in range(4)]
    assert [line.get("number") for line in taken] == [0, 1, 2, None]
    assert taken[3] == {"what": "log lines lost", "lines": 7}


async def test_who_has_gone_is_noticed_though_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "ALIVE_SECONDS", 0.01)
    log, path = EventLog(io.StringIO()), tmp_path / "x.sock"
    async with control.serving(path, {"follow": log.followers.follow}, "LSP"):
        _, writer = await connected(path)
        await until_followed(log, 1)
        writer.close()
        await until_followed(log, 0)


async def test_there_are_no_more_than_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "MOST_FOLLOWERS", 1)
    log, path = EventLog(io.StringIO()), tmp_path / "x.sock"
    async with control.serving(path, {"follow": log.followers.follow}, "LSP"):
        _, first = await connected(path)
        await until_followed(log, 1)
        reader, _ = await connected(path)
        assert "1 commands already follow" in (await asyncio.wait_for(reader.readline(), 10)).decode()
        first.close()


def test_the_command_shows_what_it_is_sent_and_nothing_of_it_is_obeyed(tmp_path: Path) -> None:
    import threading

    from typer.testing import CliRunner

    from asyncpay.cli import app

    store = tmp_path / "lsp.sqlite"
    (tmp_path / "lsp.toml").write_text(
        f'[node]\nimplementation = "ldk"\nsocket = "{tmp_path}/node"\n[store]\npath = "{store}"\n'
    )
    lines = [
        None,
        {"time": 1795806631.1, "what": "held", "payment_hashes": ["ab" * 32], "because": "\x1b[2Jevil\nline"},
        {"time": 1795806632.1, "what": "released", "payment_hashes": ["cd" * 32]},
    ]
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{store}.sock")
    listening.listen()

    def serve() -> None:
        for _ in range(3):
            connection, _ = listening.accept()
            with connection:
                connection.makefile().readline()
                connection.sendall(b"".join(json.dumps({"progress": line}).encode() + b"\n" for line in lines))

    threading.Thread(target=serve, daemon=True).start()

    def run(*options: str) -> list[str]:
        result = CliRunner().invoke(app, ["lsp", "--config", str(tmp_path / "lsp.toml"), "follow", *options])
        assert result.exit_code == 1, "it went away"
        return [line for line in result.stdout.splitlines() if "error:" not in line]

    shown = run()
    assert len([line for line in shown if "held" in line or "released" in line]) == 2
    assert "\x1b" not in "".join(shown)
    assert "payment_hashes abababab…" in shown[0]
    (only,) = run("--payment", "CDCD", "--json")
    assert json.loads(only)["what"] == "released"
    (only,) = [line for line in run("--event", "held") if "held" in line]
    assert "because: " in only
