"""Core Lightning's JSON-RPC over its Unix socket, and its errors in our words."""

from typing import Any

from asyncpay.nodes.base import NodeError, NodeUnreachableError
from asyncpay.nodes.unix_rpc import CALL_SECONDS, Answer, UnixRpc, given

_STARTING = "still starting up"
"""What a lightningd says of methods that wait for its first look at the chain."""


class ClnRefusedError(NodeError):
    """CLN answered, and refused. code: of CLN's documentation; details: its own words; data: what it adds."""

    def __init__(self, sentence: str, code: int, details: str, data: Answer) -> None:
        super().__init__(sentence)
        self.code = code
        self.details = details
        self.data = data


class Rpc(UnixRpc):
    """One lightningd."""

    implementation = "CLN"
    end = b"\n\n"

    async def call(self, method: str, seconds: float | None = CALL_SECONDS, **parameters: Any) -> Answer:
        """Call a method; parameters that are None are left out. seconds: how long it may take, None for ever.

        ClnRefusedError. NodeUnreachableError: it was not done, or in case of a LostError perhaps.
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
        sentence = f"CLN at {self.socket} did not do {method}: {details}"
        if _STARTING in details:
            return NodeUnreachableError(sentence)
        data = error.get("data")
        return ClnRefusedError(sentence, code, details, data if isinstance(data, dict) else {})
