"""Talking to lightningd: what counts as an answer, as a refusal, as absence, and as perhaps done."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from asyncpay.lightning import ChannelId, HtlcKey, Resolution, ShortChannelId
from asyncpay.nodes.base import NodeUnreachableError, OnionUnreadableError, PeerNotConnectedError
from asyncpay.nodes.cln import ClnNode
from asyncpay.nodes.cln.event_stream import EventStream
from asyncpay.nodes.cln.rpc import ClnRefusedError, Rpc
from asyncpay.nodes.unix_rpc import LostError
from asyncpay.wire.onion import OnionMessage

pytestmark = pytest.mark.anyio

Reply = Callable[[dict[str, Any]], dict[str, Any] | None]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def lightningd(folder: Path, reply: Reply) -> AsyncIterator[Path]:
    """A socket behind which requests are answered; None: it hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = reply(json.loads(await reader.readuntil(b"}}")))
        if answer is not None:
            writer.write(json.dumps(answer, ensure_ascii=False).encode(errors="surrogateescape") + b"\n\n")
        writer.close()

    socket = folder / "rpc"
    async with await asyncio.start_unix_server(serve, socket):
        yield socket


def refusing(message: str, code: int = -1) -> Reply:
    return lambda _: {"error": {"code": code, "message": message, "data": {"erring_channel": "1x1x1"}}}


async def test_a_call_and_its_answer(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        seen.append(request)
        return {"result": {"id": "us"}}

    async with lightningd(tmp_path, reply) as socket:
        assert await Rpc(socket).call("getinfo", given=1, left_out=None) == {"id": "us"}
    assert (seen[0]["method"], seen[0]["params"]) == ("getinfo", {"given": 1})


async def test_an_alias_that_is_no_utf_8_spoils_itself_only(tmp_path: Path) -> None:
    """BOLT 7 asks for UTF-8, and lightningd passes on what a node announces."""
    nodes = [{"nodeid": "02", "alias": "\udcff\udcfe"}, {"nodeid": "03", "alias": "b"}]
    async with lightningd(tmp_path, lambda _: {"result": {"nodes": nodes}}) as socket:
        read = await Rpc(socket).call("listnodes")
    assert [node["nodeid"] for node in read["nodes"]] == ["02", "03"]


async def test_a_refusal(tmp_path: Path) -> None:
    async with lightningd(tmp_path, refusing("no", 205)) as socket:
        with pytest.raises(ClnRefusedError, match="did not execute pay: no") as refused:
            await Rpc(socket).call("pay")
    assert (refused.value.code, refused.value.data) == (205, {"erring_channel": "1x1x1"})


async def test_nobody_there_is_certain_and_a_broken_line_is_not(tmp_path: Path) -> None:
    with pytest.raises(NodeUnreachableError, match="cannot be reached") as absent:
        await Rpc(tmp_path / "rpc").call("getinfo")
    assert not isinstance(absent.value, LostError)
    async with lightningd(tmp_path, lambda _: None) as socket:
        with pytest.raises(LostError):
            await Rpc(socket).call("getinfo")


async def test_an_answer_that_may_have_got_through_is_not_called_undelivered(tmp_path: Path) -> None:
    key = HtlcKey(ChannelId.from_name(1), 2)
    async with lightningd(tmp_path, lambda _: None) as socket:
        stream = EventStream(Rpc(socket))
        stream.offered[key] = ShortChannelId(1)
        await stream.resolve_htlc(key, Resolution.RESUME, None)
    async with lightningd(tmp_path, lambda _: {"result": {"answered": False}}) as socket:
        stream = EventStream(Rpc(socket))
        with pytest.raises(NodeUnreachableError, match="does not hold it"):
            await stream.resolve_htlc(key, Resolution.RESUME, None)
        stream.offered[key] = ShortChannelId(1)
        with pytest.raises(NodeUnreachableError, match="does not hold it"):
            await stream.resolve_htlc(key, Resolution.RESUME, None)


async def test_without_the_plugin_the_way_to_it_is_told(tmp_path: Path) -> None:
    async with lightningd(tmp_path, refusing("Unknown command 'asyncpay-attach'", -32601)) as socket:
        with pytest.raises(NodeUnreachableError, match=r"important-plugin=.*plugin\.py"):
            await anext(ClnNode(socket).events())


@pytest.mark.parametrize(
    ("said", "error"),
    [(f"onion msg: unknown next peer {'02' * 33}", PeerNotConnectedError), ("can't parse onion", OnionUnreadableError)],
)
async def test_an_onion_that_goes_nowhere(tmp_path: Path, said: str, error: type[Exception]) -> None:
    async with lightningd(tmp_path, refusing(said)) as socket:
        with pytest.raises(error):
            await ClnNode(socket).forward_onion(OnionMessage(bytes(33), b""))
