"""LDK behind the node interface: what ldkd says, what is made of it, and when it counts as away."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from asyncpay.lightning import ChannelId, HeldHtlc, HtlcKey, PaymentResult, PaymentStatus, Resolution, ShortChannelId
from asyncpay.node_events import (
    Attached,
    BlockConnected,
    CustomMessage,
    HtlcFailed,
    HtlcGone,
    HtlcOffered,
    HtlcSettled,
    InvoicePaid,
    NodeEvent,
)
from asyncpay.nodes.base import NodeError, NodeUnreachableError, PeerNotConnectedError
from asyncpay.nodes.ldk import LdkNode, channels, payments
from asyncpay.nodes.ldk.rpc import PEER_NOT_CONNECTED, LdkRefusedError, Rpc
from asyncpay.nodes.numbers import OutOfRangeError
from asyncpay.nodes.unix_rpc import LostError

pytestmark = pytest.mark.anyio

Reply = Callable[[str, dict[str, Any]], Any]
"""The result of a method; a Refusal is an error, None: it hangs up."""

PEER, CHANNEL, HASH, PREIMAGE = "02" + "11" * 32, "aa" * 32, "bb" * 32, "cc" * 32
KEY = HtlcKey(ChannelId.fromhex(CHANNEL), 3)
OFFER = {
    "channel_id": CHANNEL,
    "htlc_id": 3,
    "peer": PEER,
    "payment_hash": HASH,
    "incoming_amount_msat": 1_001,
    "outgoing_amount_msat": 1_000,
    "incoming_expiry": 272,
    "outgoing_expiry": 200,
    "outgoing_channel": 1 << 40,
    "fails_at": 161,
}
HELD = HeldHtlc(
    key=KEY,
    payment_hash=bytes.fromhex(HASH),
    peer=bytes.fromhex(PEER),
    incoming_amount_msat=1_001,
    outgoing_amount_msat=1_000,
    incoming_expiry=272,
    outgoing_expiry=200,
    outgoing_channel=ShortChannelId(1 << 40),
)


class Refusal(dict[str, Any]):
    """An error of JSON-RPC."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def ldkd(folder: Path, reply: Reply) -> AsyncIterator[Path]:
    """A socket behind which requests are answered."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await reader.readuntil(b"\n"))
        except asyncio.IncompleteReadError:
            return  # the stream has ended, and with it a question that was on its way
        result = reply(request["method"], request["params"])
        if result is not None:
            what = "error" if isinstance(result, Refusal) else "result"
            writer.write(json.dumps({"id": request["id"], what: result}).encode() + b"\n")
        writer.close()

    socket = folder / "rpc"
    async with await asyncio.start_unix_server(serve, socket):
        yield socket


class Daemon:
    """An ldkd with one channel, which tells these events, and then is gone."""

    def __init__(self, *events: tuple[str, dict[str, Any]]) -> None:
        self.events = [{"number": n, "topic": t, "payload": p} for n, (t, p) in enumerate(events, start=1)]
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, method: str, given: dict[str, Any]) -> Any:
        self.calls.append((method, given))
        match method:
            case "attach":
                return {"session": 7}
            case "getinfo":
                return {"id": PEER, "network": "regtest", "height": 100, "synced": True}
            case "listpeers":
                return {"peers": [{"id": PEER, "relays_onion_messages": True, "inbound": False}]}
            case "listchannels":
                return {"channels": [channel()]}
            case "events":
                assert given["session"] == 7
                left = [event for event in self.events if event["number"] > given["after"]]
                return {"events": left, "dropped": 0} if left else Refusal(code=-18001, message="over")
            case "answer":
                return {"answered": True}
        return None


def channel(**changes: Any) -> dict[str, Any]:
    return {
        "channel_id": CHANNEL,
        "peer": PEER,
        "short_channel_id": 5 << 40,
        "local_alias": 9 << 40,
        "ready": True,
        "connected": True,
        "usable": True,
        "closing": False,
        "htlcs": [],
    } | changes


async def stream(
    folder: Path, daemon: Daemon, act: Callable[[LdkNode, NodeEvent], Any] | None = None
) -> list[NodeEvent]:
    """All events until the stream ends."""
    seen: list[NodeEvent] = []
    async with ldkd(folder, daemon) as socket:
        node = LdkNode(socket)
        with pytest.raises(NodeUnreachableError, match="over"):  # noqa: PT012 - it ends only so
            async for event in node.events():
                seen.append(event)
                if act is not None:
                    await act(node, event)
    return seen


async def test_a_refusal_has_its_code_and_words(tmp_path: Path) -> None:
    async with ldkd(tmp_path, lambda *_: Refusal(code=-1, message="no coins")) as socket:
        with pytest.raises(LdkRefusedError, match=r"did not execute openchannel: no coins") as raised:
            await Rpc(socket).call("openchannel", peer=PEER)
    assert raised.value.code == -1


async def test_a_peer_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    async with ldkd(tmp_path, lambda *_: Refusal(code=PEER_NOT_CONNECTED, message="away")) as socket:
        with pytest.raises(PeerNotConnectedError) as raised:
            await LdkNode(socket).send_custom(bytes.fromhex(PEER), 37913, b"x")
    assert raised.value.peer == bytes.fromhex(PEER)


async def test_no_socket_is_absence_and_no_answer_is_perhaps_done(tmp_path: Path) -> None:
    with pytest.raises(NodeUnreachableError, match="cannot be reached"):
        await Rpc(tmp_path / "none").call("getinfo")
    async with ldkd(tmp_path, lambda *_: None) as socket:
        with pytest.raises(LostError):
            await Rpc(socket).call("getinfo")


async def test_what_happens_is_told_in_order(tmp_path: Path) -> None:
    daemon = Daemon(
        ("htlc_intercepted", OFFER),
        ("htlc_settled", {"channel_id": CHANNEL, "htlc_id": 3, "preimage": PREIMAGE}),
        ("htlc_failed", {"channel_id": CHANNEL, "htlc_id": 4}),
        ("block", {"height": 101}),
        ("custom_message", {"peer": PEER, "type": 37913, "data": "7b7d"}),
        ("invoice_paid", {"payment_hash": HASH, "amount_msat": 9}),
    )
    attached, *told = await stream(tmp_path, daemon)
    assert isinstance(attached, Attached)
    assert (attached.height, attached.network, len(attached.links)) == (100, "regtest", 1)
    assert [event for event in told if not isinstance(event, HtlcGone)] == [
        HtlcOffered(HELD),
        HtlcSettled(KEY, bytes.fromhex(PREIMAGE)),
        HtlcFailed(HtlcKey(KEY.channel_id, 4)),
        BlockConnected(101),
        CustomMessage(bytes.fromhex(PEER), 37913, b"{}"),
        InvoicePaid(bytes.fromhex(HASH), 9),
    ]


async def test_an_offer_is_answered_in_ldkd_s_words_and_once(tmp_path: Path) -> None:
    async def resume(node: LdkNode, event: NodeEvent) -> None:
        if isinstance(event, HtlcOffered):
            await node.resolve_htlc(KEY, Resolution.RESUME)
            with pytest.raises(NodeUnreachableError, match="does not hold it"):
                await node.resolve_htlc(KEY, Resolution.FAIL)
            with pytest.raises(NodeError, match="not claim it"):
                await node.resolve_htlc(KEY, Resolution.SETTLE, bytes(32))

    daemon = Daemon(("htlc_intercepted", OFFER))
    await stream(tmp_path, daemon, resume)
    answers = [given for method, given in daemon.calls if method == "answer"]
    assert answers == [{"channel_id": CHANNEL, "htlc_id": 3, "result": "continue"}]


@pytest.mark.parametrize("nonsense", [{"outgoing_amount_msat": 2**63}, {"outgoing_expiry": 2**32}])
async def test_an_offer_with_numbers_that_there_cannot_be_is_failed(tmp_path: Path, nonsense: dict[str, Any]) -> None:
    daemon = Daemon(("htlc_intercepted", OFFER | nonsense), ("block", {"height": 101}))
    told = await stream(tmp_path, daemon)
    assert BlockConnected(101) in told
    assert not any(isinstance(event, HtlcOffered) for event in told)
    answers = [given for method, given in daemon.calls if method == "answer"]
    assert answers == [{"channel_id": CHANNEL, "htlc_id": 3, "result": "fail"}]


def test_a_link_has_both_names_and_is_usable_unless_it_closes() -> None:
    link = channels.link_of(channel())
    assert link.names == (ShortChannelId(5 << 40), ShortChannelId(9 << 40))
    assert link.usable
    closing = channels.link_of(channel(closing=True))
    assert closing.closing
    assert not closing.usable
    assert channels.link_of(channel(short_channel_id=None)).short_channel_id == 9 << 40


def test_an_htlc_that_was_not_sent_yet_is_not_pending() -> None:
    htlc = {"direction": "out", "id": None, "payment_hash": HASH, "amount_msat": 5, "expiry": 9, "leaving": False}
    sent = htlc | {"id": 0}
    assert [each.key.htlc_id for each in channels.pending_htlcs(channel(htlcs=[htlc, sent]))] == [0]


@pytest.mark.parametrize(
    ("changes", "moving"),
    [
        ({}, False),
        ({"usable": False}, True),
        ({"usable": False, "connected": False}, False),
        ({"htlcs": [{"direction": "in", "leaving": True}]}, True),
    ],
)
def test_what_is_about_to_change(changes: dict[str, Any], moving: bool) -> None:
    assert channels.is_moving(channel(**changes)) is moving


def test_a_payment_is_what_its_record_says() -> None:
    record = {"status": "succeeded", "preimage": PREIMAGE, "fee_msat": 3, "failure": ""}
    in_flight = {"parts_in_flight": 1, "in_flight_msat": 7}
    assert payments.result(record | in_flight) == PaymentResult(
        status=PaymentStatus.SUCCEEDED,
        preimage=bytes.fromhex(PREIMAGE),
        fee_msat=3,
        parts_in_flight=1,
        in_flight_msat=7,
    )
    assert payments.result(None).status is PaymentStatus.UNKNOWN
    with pytest.raises(OutOfRangeError):
        payments.result(record | in_flight | {"fee_msat": -1})


@pytest.mark.parametrize(
    ("paid_msat", "expired", "payable"), [(None, False, True), (None, True, False), (7, False, False)]
)
async def test_ldkd_decides_whether_an_invoice_has_expired(
    tmp_path: Path, paid_msat: int | None, expired: bool, payable: bool
) -> None:
    """The system clock of this process may be wrong: here the invoice expired in 1970."""
    own = {"amount_msat": 7, "expires_at": 1, "expired": expired, "paid_msat": paid_msat, "payment_secret": PREIMAGE}
    async with ldkd(tmp_path, lambda *_: own) as socket:
        invoice = await LdkNode(socket).look_up_invoice(bytes.fromhex(HASH))
    assert invoice is not None
    assert (invoice.payable, invoice.paid) == (payable, paid_msat is not None)
