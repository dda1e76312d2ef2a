"""The wallet's line to its LSP: only that peer's answers count, and each call has an end."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from asyncpay.lightning import ChannelId, Link, ShortChannelId
from asyncpay.lsps import jsonrpc
from asyncpay.lsps.info import GET_INFO, UnsuitableLspError
from asyncpay.lsps.jsonrpc import RpcError
from asyncpay.node_events import CustomMessage
from asyncpay.nodes.base import NodeUnreachableError, PeerNotConnectedError
from asyncpay.service.wallet import lsp_link
from asyncpay.service.wallet.lsp_link import LspLink, NoLspError

from .scripted_node import LSP, OFFER, OTHER


class Line:
    """A node as far as the link uses it. reply: makes the custom messages that come upon a request's id."""

    def __init__(self) -> None:
        self.requests: list[jsonrpc.Request] = []
        self.to: list[bytes] = []
        self.reply: Callable[[Any], list[CustomMessage]] = lambda id_: [of_lsp(jsonrpc.answer(id_, {"said": "yes"}))]
        self.error: Exception | None = None
        self.link: LspLink

    async def send_custom(self, peer: bytes, _: int, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        request = jsonrpc.read_request(data)
        self.requests.append(request)
        self.to.append(peer)
        for message in self.reply(request.id):
            self.link.take(message)


def of_lsp(data: bytes, peer: bytes = LSP, type_: int = jsonrpc.MESSAGE_TYPE) -> CustomMessage:
    return CustomMessage(peer, type_, data)


def channel(peer: bytes, number: int = 1) -> Link:
    return Link(channel_id=ChannelId.from_name(number), short_channel_id=ShortChannelId(number), peer=peer, usable=True)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    monkeypatch.setattr(lsp_link, "ANSWER_SECONDS", 0.05)
    made: Any = Line()
    made.link = LspLink(made, None)
    made.link.choose([channel(LSP)])
    return made  # type: ignore[no-any-return]


def result(work: Awaitable[Any]) -> Any:
    async def run() -> Any:
        return await work

    return asyncio.run(run())


def test_an_answer(line: Line) -> None:
    assert result(line.link.call("a.method", {"one": 1})) == {"said": "yes"}
    assert (line.to, line.requests[0].method, line.requests[0].params) == ([LSP], "a.method", {"one": 1})


def test_a_refusal(line: Line) -> None:
    line.reply = lambda id_: [of_lsp(jsonrpc.refusal(id_, RpcError(7, "no")))]
    with pytest.raises(RpcError, match=r"no \(7\)"):
        result(line.link.call("a.method"))


@pytest.mark.parametrize(
    "reply",
    [
        lambda _: [],
        lambda id_: [of_lsp(jsonrpc.answer(id_, {}), peer=OTHER)],
        lambda id_: [of_lsp(jsonrpc.answer(id_, {}), type_=32769)],
        lambda _: [of_lsp(jsonrpc.answer("another", {}))],
        lambda _: [of_lsp(b"\xff not JSON")],
        lambda id_: [of_lsp(jsonrpc.answer(id_, {}) + b"{}")],
    ],
)
def test_what_is_no_answer_of_the_lsp_is_none(line: Line, reply: Any) -> None:
    line.reply = reply
    with pytest.raises(NoLspError, match=f"the LSP {LSP.hex()} did not answer a.method within"):
        result(line.link.call("a.method"))


def test_rubbish_before_the_answer_does_no_harm(line: Line) -> None:
    line.reply = lambda id_: [of_lsp(b"\xff"), of_lsp(jsonrpc.answer(id_, {"first": 1})), of_lsp(b"\xff")]
    assert result(line.link.call("a.method")) == {"first": 1}


def test_only_the_first_answer_counts_and_one_that_comes_too_late_is_ignored(line: Line) -> None:
    line.reply = lambda id_: [of_lsp(jsonrpc.answer(id_, {"number": number})) for number in (1, 2)]
    assert result(line.link.call("a.method")) == {"number": 1}
    line.reply = lambda _: []
    with pytest.raises(NoLspError):
        result(line.link.call("a.method"))
    line.link.take(of_lsp(jsonrpc.answer(line.requests[-1].id, {"late": True})))


def test_calls_at_the_same_time_get_each_its_own_answer(line: Line) -> None:
    held: list[Any] = []

    def reply(id_: Any) -> list[CustomMessage]:
        held.append(id_)
        return [] if len(held) < 2 else [of_lsp(jsonrpc.answer(each, {"to": each})) for each in reversed(held)]

    async def both() -> Any:
        return await asyncio.gather(line.link.call("a"), line.link.call("b"))

    line.reply = reply
    assert result(both()) == [{"to": id_} for id_ in held]


def test_a_peer_that_is_gone_and_a_node_that_is_gone(line: Line) -> None:
    line.error = PeerNotConnectedError(LSP)
    with pytest.raises(NoLspError, match="not connected: is this phone online"):
        result(line.link.call("a.method"))
    line.error = NodeUnreachableError("LND at x is away")
    with pytest.raises(NodeUnreachableError):
        result(line.link.call("a.method"))


# --- which peer it is ---


def test_it_is_the_one_that_there_are_channels_with(line: Line) -> None:
    line.link.choose([channel(OTHER, 1), channel(OTHER, 2)])
    assert line.link.node_id == OTHER


def test_with_channels_to_several_nobody_is_chosen() -> None:
    nobody: Any = None
    link = LspLink(nobody, None)
    link.choose([])
    link.choose([channel(LSP, 1), channel(OTHER, 2)])
    with pytest.raises(NoLspError, match=r"name it by node_id under \[lsp\]"):
        assert link.node_id


def test_one_that_is_known_stays_while_channels_come_and_go(line: Line) -> None:
    line.link.choose([channel(LSP, 1), channel(OTHER, 2)])
    line.link.choose([])
    assert line.link.node_id == LSP


def test_a_channel_that_is_about_to_be_closed_does_not_count(line: Line) -> None:
    line.link.choose([replace(channel(LSP, 1), usable=False, closing=True)])
    assert line.link.node_id == LSP
    line.link.choose([replace(channel(LSP, 1), usable=False, closing=True), channel(OTHER, 2)])
    assert line.link.node_id == OTHER


def test_the_configured_one_stays() -> None:
    nobody: Any = None
    link = LspLink(nobody, LSP)
    link.choose([channel(OTHER)])
    assert link.node_id == LSP


# --- what it offers ---


def offers(line: Line, **changes: Any) -> None:
    line.reply = lambda id_: [of_lsp(jsonrpc.answer(id_, OFFER | changes))]


def test_what_it_offers_is_kept_until_it_is_asked_anew(line: Line) -> None:
    offers(line, max_holds=1)
    assert result(line.link.info()).max_holds == 1
    offers(line, max_holds=2)
    assert result(line.link.info()).max_holds == 1
    assert [request.method for request in line.requests] == [GET_INFO]
    assert result(line.link.info(anew=True)).max_holds == 2
    assert result(line.link.info()).max_holds == 2


def test_what_one_lsp_offers_is_not_believed_of_the_next(line: Line) -> None:
    offers(line)
    result(line.link.info())
    line.link.choose([channel(OTHER)])
    line.reply = lambda _: []
    with pytest.raises(UnsuitableLspError, match=f"the LSP {OTHER.hex()} did not answer"):
        result(line.link.info())
