"""Core Lightning's JSON-RPC over its Unix socket, with its errors translated."""

from typing import Any

from asyncpay.nodes.base import NodeError, NodeUnreachableError
from asyncpay.nodes.unix_rpc import CALL_SECONDS, Answer, UnixRpc, given

_STARTING = "still starting up"
"""In lightningd's errors of methods that need the initial sync with the chain."""


class ClnRefusedError(NodeError):
    """CLN returned an error. code: of CLN's documentation; details: CLN's message; data: additional data."""

    def __init__(self, sentence: str, code: int, details: str, data: Answer) -> None:
        super().__init__(sentence)
        self.code = code
        self.details = details
        self.data = data


class Rpc(UnixRpc):
    """The RPC of one lightningd."""

    implementation = "CLN"
    end = b"\n\n"

    async def call(self, method: str, seconds: float | None = CALL_SECONDS, **parameters: Any) -> Answer:
        """Call a method; parameters that are None are omitted. seconds: the time limit, None for no limit.

        Raises ClnRefusedError. NodeUnreachableError: it was not carried out; if it is a LostError, it may have been.
        """
        id_ = f"asyncpay:{method}#{next(self._ids)}"
        request = {"jsonrpc": "2.0", "id": id_, "method": method, "params": given(parameters)}
        answer = await self.ask(request, seconds)
        if "error" in answer:
            raise self._refusal(method, answer["error"])
        result: Answer = answer["result"]
        return result

    def _refusal(self, method: str, error: Answer) -> NodeError:
        details, code = str(error.get("message", error)), int(error.get("code", 0))
        sentence = f"CLN at {self.socket} did not execute {method}: {details}"
        if _STARTING in details:
            return NodeUnreachableError(sentence)
        data = error.get("data")
        return ClnRefusedError(sentence, code, details, data if isinstance(data, dict) else {})
