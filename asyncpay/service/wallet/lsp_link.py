"""The wallet's connection to its LSP: the choice of the peer, and requests over LSPS0."""

import asyncio
from collections.abc import Iterable

from asyncpay.lightning import Link, NodeId
from asyncpay.lsp_info import LspInfo
from asyncpay.lsps import info, jsonrpc
from asyncpay.lsps.info import UnsuitableLspError
from asyncpay.lsps.jsonrpc import Answer, Calls, JsonObject
from asyncpay.node_events import CustomMessage
from asyncpay.nodes.base import Node, PeerNotConnectedError

ANSWER_SECONDS = 10


class NoLspError(Exception):
    """There is no LSP, or it does not answer; the text gives a remedy."""


class LspSilentError(NoLspError):
    """The LSP is connected, but does not answer."""


class LspLink:
    """Calls to one LSP at a time. configured: the LSP's node id; without it, the peer of all channels."""

    def __init__(self, node: Node, configured: NodeId | None) -> None:
        self._node = node
        self._configured = configured
        self._found: NodeId | None = configured
        self._calls = Calls()
        self._answers: dict[str, asyncio.Future[Answer]] = {}
        self._info: LspInfo | None = None

    def choose(self, links: Iterable[Link]) -> None:
        """Choose the LSP from the channels. Those that are about to be closed do not count."""
        peers = {link.peer for link in links if not link.closing}
        if self._configured is None and len(peers) == 1:
            (peer,) = peers
            if peer != self._found:
                self._found, self._info = peer, None

    @property
    def node_id(self) -> NodeId:
        """The node id of the LSP, 33 bytes. Raises NoLspError."""
        if self._found is None:
            raise NoLspError(
                "the LSP is not known: there is no channel yet, or there are channels with several peers. "
                "Open a channel with the LSP, or name it by node_id under [lsp] in the configuration"
            )
        return self._found

    def take(self, message: CustomMessage) -> None:
        """Handle a custom message, which may be an answer."""
        if message.type != jsonrpc.MESSAGE_TYPE or message.peer != self._found:
            return
        try:
            answer = self._calls.receive(message.data)
        except jsonrpc.FormatError:
            return  # the call that it answers will time out
        if answer is not None and (waiting := self._answers.pop(answer.id, None)) and not waiting.done():
            waiting.set_result(answer)

    async def call(self, method: str, params: JsonObject | None = None) -> JsonObject:
        """Send the LSP a request. Raises NoLspError if it does not answer, RpcError if it refuses."""
        return (await self._ask(method, params)).result()

    async def info(self, anew: bool = False) -> LspInfo:
        """Return the LSP's offer, cached unless `anew`. NoLspError, UnsuitableLspError."""
        if self._info is None or anew:
            try:
                self._info = info.read_answer(self.node_id, await self._ask(info.GET_INFO, None))
            except LspSilentError as error:
                raise UnsuitableLspError(f"{error}: it may not speak LSPS0, which async payments need") from None
        return self._info

    async def _ask(self, method: str, params: JsonObject | None) -> Answer:
        lsp = self.node_id
        call = self._calls.begin(method, params)
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[call.id] = waiting
        try:
            await self._node.send_custom(lsp, jsonrpc.MESSAGE_TYPE, call.payload)
            async with asyncio.timeout(ANSWER_SECONDS):
                return await waiting
        except PeerNotConnectedError:
            raise NoLspError(f"the LSP {lsp.hex()} is not connected: is this phone online?") from None
        except TimeoutError:
            raise LspSilentError(f"the LSP {lsp.hex()} did not answer {method} within {ANSWER_SECONDS} s") from None
        finally:
            self._calls.forget(call)
            self._answers.pop(call.id, None)
