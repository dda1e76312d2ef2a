"""The status socket: one question, one answer, and a sentence when nobody is there."""

import asyncio
import socket
from pathlib import Path

import pytest

from asyncpay.service import status


async def _ask_while_serving(path: Path) -> status.Status:
    async with await status.serve(path, lambda: {"healthy": True, "blocks": ["x" * 100_000]}):
        return await asyncio.to_thread(status.ask, path)


def test_asked_and_answered(tmp_path: Path) -> None:
    path = tmp_path / "lsp.sock"
    answer = asyncio.run(_ask_while_serving(path))
    assert answer == {"healthy": True, "blocks": ["x" * 100_000]}
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_socket_left_by_a_killed_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "lsp.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    assert asyncio.run(_ask_while_serving(path))["healthy"]


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(status.NotRunningError, match=r"no LSP answers at .*lsp\.sock"):
        status.ask(tmp_path / "lsp.sock")
