"""A channel is force-closed once, whatever state it is in by then, and no other channel is."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from asyncpay.lightning import ChannelId, ShortChannelId
from asyncpay.nodes.base import NodeError, NodeUnreachableError
from asyncpay.nodes.cln import channels
from asyncpay.nodes.cln.node import ClnNode
from asyncpay.nodes.lnd.closing import force_close
from asyncpay.nodes.lnd.connection import Connection
from asyncpay.nodes.proto import lightning_pb2 as ln

LND_ID = ChannelId.from_name(ShortChannelId.parse("700x1x0"))
CLN_ID = ChannelId(b"\x11" * 32)
TXID = "ab" * 32
CHANNELS = [
    ln.Channel(chan_id=int(ShortChannelId.parse("700x2x0")), channel_point=f"{'cd' * 32}:0"),
    ln.Channel(chan_id=int(ShortChannelId.parse("700x1x0")), channel_point=f"{TXID}:3"),
]


class Lnd(Connection):
    """Says what it is told to when it is asked to close. asked: what it was asked; cancelled: we have hung up."""

    address = "lnd:10009"

    def __init__(self, *says: Any, channels: list[ln.Channel] = CHANNELS) -> None:
        self.asked: list[ln.CloseChannelRequest] = []
        self.cancelled = False
        self._says, self._channels = says, channels
        self.lightning: Any = self

    async def ListChannels(self, *_: Any, **__: Any) -> ln.ListChannelsResponse:  # noqa: N802
        return ln.ListChannelsResponse(channels=self._channels)

    def CloseChannel(self, request: ln.CloseChannelRequest, **_: Any) -> "Lnd":  # noqa: N802
        self.asked.append(request)
        return self

    async def __aiter__(self) -> AsyncIterator[ln.CloseStatusUpdate]:
        for each in self._says:
            if isinstance(each, Exception):
                raise each
            yield each
            assert not self.cancelled

    def cancel(self) -> None:
        self.cancelled = True


PENDING = ln.CloseStatusUpdate(close_pending=ln.PendingUpdate(txid=bytes(32)))


def refusal(details: str, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)


def close(lnd: Lnd, channel_id: ChannelId = LND_ID) -> None:
    asyncio.run(force_close(lnd, channel_id))


def test_lnd_is_asked_by_the_funding_output_and_waited_for_until_the_broadcast() -> None:
    lnd = Lnd(PENDING, AssertionError("nobody waits for the confirmation"))
    close(lnd)
    point = ln.ChannelPoint(funding_txid_str=TXID, output_index=3)
    assert lnd.asked == [ln.CloseChannelRequest(channel_point=point, force=True)]
    assert lnd.cancelled


def test_a_channel_that_lnd_does_not_list_is_closed_already() -> None:
    lnd = Lnd(channels=CHANNELS[:1])
    close(lnd)
    assert lnd.asked == []


def test_closing_already_is_as_good() -> None:
    close(Lnd(refusal("channel is already in the process of being force closed")))


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ((refusal("cannot close channel with state: ChanStatusRestored"),), NodeError),
        ((refusal("connection reset", grpc.StatusCode.UNAVAILABLE),), NodeUnreachableError),
        ((), NodeUnreachableError),
    ],
)
def test_what_was_not_done_is_told(says: tuple[Any, ...], error: type[Exception]) -> None:
    lnd = Lnd(*says)
    with pytest.raises(error, match=r"LND at lnd:10009 did not .*close"):
        close(lnd)
    assert lnd.cancelled


@pytest.mark.parametrize("channel_id", [CLN_ID, ChannelId(b""), ChannelId(bytes(9))])
def test_lnd_has_no_channel_of_such_an_id(channel_id: ChannelId) -> None:
    lnd = Lnd(PENDING)
    with pytest.raises(NodeError, match="its channels have ids of 8 bytes"):
        close(lnd, channel_id)
    assert lnd.asked == []


class Cln:
    """Lists channels, and notes what else it is asked."""

    socket = Path("/cln")

    def __init__(self, *states: str) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._channels = [{"channel_id": "22" * 32, "state": "CHANNELD_NORMAL"}]
        self._channels += [{"channel_id": CLN_ID.hex(), "state": state} for state in states]

    async def call(self, method: str, **parameters: Any) -> Any:
        if method == "listpeerchannels":
            return {"channels": self._channels}
        self.asked.append((method, parameters))
        return {}


@pytest.mark.parametrize(
    ("states", "closes"),
    [
        (("CHANNELD_NORMAL",), True),
        (("CHANNELD_AWAITING_SPLICE",), True),
        (("CHANNELD_SHUTTING_DOWN",), True),
        (("CLOSINGD_SIGEXCHANGE",), True),
        (("AWAITING_UNILATERAL",), False),
        (("FUNDING_SPEND_SEEN",), False),
        (("ONCHAIN",), False),
        ((), False),
    ],
)
def test_cln_is_asked_unless_the_last_transaction_is_out(states: tuple[str, ...], closes: bool) -> None:
    cln: Any = Cln(*states)
    asyncio.run(channels.force_close(cln, CLN_ID))
    assert cln.asked == [("close", {"id": CLN_ID.hex(), "unilateraltimeout": 1})] * closes


@pytest.mark.parametrize("channel_id", [LND_ID, ChannelId(b""), ChannelId(bytes(33))])
def test_cln_has_no_channel_of_such_an_id(channel_id: ChannelId) -> None:
    with pytest.raises(NodeError, match="its channels have ids of 32 bytes"):
        asyncio.run(ClnNode(Path("/cln")).force_close(channel_id))
