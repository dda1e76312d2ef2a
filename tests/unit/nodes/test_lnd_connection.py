"""gRPC's errors in our words: whether LND is away or says no."""

import grpc
import pytest

from asyncpay.nodes.base import NodeError, NodeUnreachableError
from asyncpay.nodes.lnd.connection import Connection, LndRefusedError

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
        (grpc.StatusCode.UNKNOWN, "permission denied", LndRefusedError),
        (grpc.StatusCode.NOT_FOUND, "peer is not connected", LndRefusedError),
    ],
)
async def test_absence_is_told_from_refusal(code: grpc.StatusCode, details: str, kind: type[NodeError]) -> None:
    lnd = Connection("lnd:10009", b"certificate", b"macaroon")
    with pytest.raises(NodeError) as error, lnd.calling("do a thing"):
        raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)
    assert type(error.value) is kind
    assert str(error.value) == f"LND at lnd:10009 did not do a thing: {details}"
    await lnd.close()
