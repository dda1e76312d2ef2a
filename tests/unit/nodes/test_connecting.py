"""Each node is told to dial in its own words; what it cannot do is an error of the node, and never one of ours."""

import asyncio
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from asyncpay.nodes.base import NodeError, NodeUnreachableError
from asyncpay.nodes.cln.node import ClnNode
from asyncpay.nodes.ldk.node import LdkNode
from asyncpay.nodes.lnd.connection import Connection
from asyncpay.nodes.lnd.node import LndNode
from asyncpay.nodes.proto import lightning_pb2 as ln
from asyncpay.nodes.unix_rpc import LostError
from tests.support.keys import node_id

LSP = node_id("LSP")


class Lnd(Connection):
    """announced: the addresses in the peer's node_announcement. error: what LND says when it is told to dial."""

    address = "lnd:10009"

    def __init__(self, *announced: str, error: Exception | None = None) -> None:
        self.dialled: list[ln.LightningAddress] = []
        self._announced, self._error = announced, error
        self.lightning: Any = self

    async def GetNodeInfo(self, request: ln.NodeInfoRequest, **_: Any) -> ln.NodeInfo:  # noqa: N802
        assert request.pub_key == LSP.hex()
        found = [ln.NodeAddress(network="tcp", addr=each) for each in self._announced]
        return ln.NodeInfo(node=ln.LightningNode(addresses=found))

    async def ConnectPeer(self, request: ln.ConnectPeerRequest, **_: Any) -> ln.ConnectPeerResponse:  # noqa: N802
        assert 0 < request.timeout <= 10
        self.dialled.append(request.addr)
        if self._error is not None:
            raise self._error
        return ln.ConnectPeerResponse()


def refusal(details: str, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)


def test_lnd_dials_the_address_that_it_is_given_or_one_that_is_announced() -> None:
    lnd = Lnd("203.0.113.1:9735", "[2001:db8::1]:9735")
    asyncio.run(LndNode(lnd).connect_peer(LSP, "lsp.example.com:9736"))
    asyncio.run(LndNode(lnd).connect_peer(LSP))
    assert [(each.pubkey, each.host) for each in lnd.dialled] == [
        (LSP.hex(), "lsp.example.com:9736"),
        (LSP.hex(), "203.0.113.1:9735"),
    ]


def test_lnd_that_knows_no_address_says_what_to_set() -> None:
    with pytest.raises(NodeError, match=r"knows no address of .*Set `address` under \[lsp\]"):
        asyncio.run(LndNode(Lnd()).connect_peer(LSP))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refusal("dial tcp 203.0.113.1:9735: connect: connection refused"), NodeError),
        (refusal("server is still in the process of starting"), NodeUnreachableError),
        (refusal("", grpc.StatusCode.DEADLINE_EXCEEDED), NodeUnreachableError),
    ],
)
def test_lnd_that_does_not_reach_it_says_so(error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="LND at lnd:10009 did not connect to"):
        asyncio.run(LndNode(Lnd(error=error)).connect_peer(LSP, "h:1"))


def test_connected_already_is_as_good() -> None:
    asyncio.run(LndNode(Lnd(error=refusal(f"already connected to peer: {LSP.hex()}@h:1"))).connect_peer(LSP, "h:1"))


class Rpc:
    """What a node with a socket is asked."""

    socket = Path("/node")

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._error = error

    async def call(self, method: str, seconds: float, **parameters: Any) -> Any:
        assert seconds <= 10
        self.asked.append((method, parameters))
        if self._error is not None:
            raise self._error
        return {}


def cln(rpc: Rpc) -> ClnNode:
    node = ClnNode(Path("/node"))
    node._rpc = cast(Any, rpc)
    return node


def test_cln_dials_host_and_port_or_what_it_knows() -> None:
    rpc = Rpc()
    asyncio.run(cln(rpc).connect_peer(LSP, "lsp.example.com:9736"))
    asyncio.run(cln(rpc).connect_peer(LSP))
    assert rpc.asked == [
        ("connect", {"id": LSP.hex(), "host": "lsp.example.com", "port": 9736}),
        ("connect", {"id": LSP.hex()}),
    ]


def test_cln_that_is_slow_to_reach_it_is_not_taken_for_gone() -> None:
    with pytest.raises(NodeError, match=r"is not connected to .* after 10 s") as raised:
        asyncio.run(cln(Rpc(LostError("no answer"))).connect_peer(LSP))
    assert not isinstance(raised.value, NodeUnreachableError)


def test_ldk_dials_where_it_is_told_and_nowhere_else() -> None:
    node, rpc = LdkNode(Path("/node")), Rpc()
    node._rpc = cast(Any, rpc)
    asyncio.run(node.connect_peer(LSP, "lsp.example.com:9736"))
    assert rpc.asked == [("connect", {"peer": LSP.hex(), "address": "lsp.example.com:9736"})]
    with pytest.raises(NodeError, match=r"Set `address` under \[lsp\]"):
        asyncio.run(node.connect_peer(LSP))
