"""gRPC's errors in our words: whether LND is away or says no."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from asyncpay.nodes.base import NodeError, NodeUnreachableError
from asyncpay.nodes.lnd.connection import Connection, LndRefusedError
from asyncpay.nodes.proto import lightning_pb2 as ln
from asyncpay.nodes.proto.lightning_pb2_grpc import LightningServicer, add_LightningServicer_to_server
from harness.services.push_gateway import Authority

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, "Connection refused", NodeUnreachableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", NodeUnreachableError),
        (grpc.StatusCode.UNKNOWN, "wallet locked, unlock it to enable full RPC access", NodeUnreachableError),
        (
            grpc.StatusCode.UNKNOWN,
            "the RPC server is in the process of starting up, but not yet ready to accept calls",
            NodeUnreachableError,
        ),
        (grpc.StatusCode.UNKNOWN, "routerrpc server shutting down", NodeUnreachableError),
        (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2", NodeUnreachableError),
        (grpc.StatusCode.UNKNOWN, "Stream removed", NodeUnreachableError),
        (grpc.StatusCode.UNKNOWN, "permission denied", LndRefusedError),
        (grpc.StatusCode.NOT_FOUND, "peer is not connected", LndRefusedError),
    ],
)
async def test_absence_is_told_from_refusal(code: grpc.StatusCode, details: str, kind: type[NodeError]) -> None:
    lnd = Connection("lnd:10009", lambda: (b"certificate", b"macaroon"))
    with pytest.raises(NodeError) as error, lnd.calling("do a thing"):
        raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)
    assert type(error.value) is kind
    assert str(error.value) == f"LND at lnd:10009 did not do a thing: {details}"
    await lnd.close()


@pytest.mark.parametrize("variable", ["https_proxy", "http_proxy", "grpc_proxy"])
async def test_no_proxy_comes_between(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    authority = Authority.for_server("localhost")
    async with busy_lnd(authority, hesitates_seconds=0) as address:
        lnd = Connection(address, lambda: (authority.ca.encode(), b"macaroon"))
        info = await lnd.lightning.GetInfo(ln.GetInfoRequest(), timeout=10)
        assert info.alias == "slow"
        await lnd.close()


class Lnd(LightningServicer):
    async def GetInfo(self, request: ln.GetInfoRequest, context: Any) -> ln.GetInfoResponse:  # noqa: N802
        return ln.GetInfoResponse(alias="slow", identity_pubkey=macaroon_of(context))

    async def SubscribeOnionMessages(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        yield ln.OnionMessageUpdate(peer=bytes.fromhex(macaroon_of(context)))


def macaroon_of(context: Any) -> str:
    return str(dict(context.invocation_metadata())["macaroon"])


@asynccontextmanager
async def busy_lnd(authority: Authority, hesitates_seconds: float) -> AsyncIterator[str]:
    """The address of a node that takes its time with every connection."""
    server = grpc.aio.server()
    add_LightningServicer_to_server(Lnd(), server)  # type: ignore[abstract]  # as far as it is asked
    pem = authority.server.encode()
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pem, pem)]))
    await server.start()

    async def pass_on(reader: StreamReader, writer: StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def accept(reader: StreamReader, writer: StreamWriter) -> None:
        await asyncio.sleep(hesitates_seconds)  # what makes it slow: nothing is waited for
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pass_on(reader, to_writer), pass_on(to_reader, writer), return_exceptions=True)

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as slow:
        yield f"127.0.0.1:{slow.sockets[0].getsockname()[1]}"
    await server.stop(0)


async def test_every_call_carries_the_macaroon() -> None:
    authority = Authority.for_server("localhost")
    async with busy_lnd(authority, hesitates_seconds=0) as address:
        lnd = Connection(address, lambda: (authority.ca.encode(), b"macaroon"))
        info = await lnd.lightning.GetInfo(ln.GetInfoRequest(), timeout=10)
        assert bytes.fromhex(info.identity_pubkey) == b"macaroon"
        messages = lnd.lightning.SubscribeOnionMessages(ln.SubscribeOnionMessagesRequest(), timeout=10)
        assert [message.peer async for message in messages] == [b"macaroon"]
        await lnd.close()


async def test_a_slow_handshake_is_waited_for() -> None:
    """gRPC's shortest pause before it tries again also bounds how long it tries."""
    authority = Authority.for_server("localhost")
    async with busy_lnd(authority, hesitates_seconds=1) as address:
        lnd = Connection(address, lambda: (authority.ca.encode(), b"macaroon"))
        assert (await lnd.lightning.GetInfo(ln.GetInfoRequest())).alias == "slow"
        await lnd.close()


async def test_a_certificate_that_was_renewed_is_read_again() -> None:
    """LND makes a new one when the old one expires, or its files are gone."""
    before, after = Authority.for_server("localhost"), Authority.for_server("localhost")
    files = (before.ca.encode(), b"macaroon")
    async with busy_lnd(after, hesitates_seconds=0) as address:
        lnd = Connection(address, lambda: files)
        with pytest.raises(NodeUnreachableError), lnd.calling("tell who it is"):
            await lnd.lightning.GetInfo(ln.GetInfoRequest(), timeout=10)
        files = (after.ca.encode(), b"macaroon")
        await lnd.renew()
        assert (await lnd.lightning.GetInfo(ln.GetInfoRequest(), timeout=10)).alias == "slow"
        same = lnd.lightning
        await lnd.renew()
        assert lnd.lightning is same
        await lnd.close()


async def test_a_call_whose_connection_is_replaced_may_or_may_not_have_happened() -> None:
    authority = Authority.for_server("localhost")
    macaroon = b"macaroon"
    async with busy_lnd(authority, hesitates_seconds=60) as address:
        lnd = Connection(address, lambda: (authority.ca.encode(), macaroon))

        async def call() -> None:
            with lnd.calling("tell who it is"):
                await lnd.lightning.GetInfo(ln.GetInfoRequest())

        calling = asyncio.create_task(call())
        await asyncio.sleep(0)
        macaroon = b"another"
        await lnd.renew()
        with pytest.raises(NodeUnreachableError, match=r"the connection was closed|did not tell who it is"):
            await asyncio.wait_for(calling, 10)
        await lnd.close()
