"""ldkd's JSON-RPC over its Unix socket, a line each way, and its errors in our words."""

from typing import Any

from asyncpay.nodes.base import NodeError, PeerNotConnectedError
from asyncpay.nodes.unix_rpc import CALL_SECONDS, Answer, UnixRpc, given

PEER_NOT_CONNECTED = -18002
"""ldkd's code (docker/ldk/src/rpc.rs) for something that is to be given to a peer that is away."""


class LdkRefusedError(NodeError):
    """ldkd answered, and refused. code: of docker/ldk/src/rpc.rs; details: its own words."""

    def __init__(self, sentence: str, code: int, details: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.details = details


class Rpc(UnixRpc):
    """One ldkd."""

    implementation = "LDK"
    end = request_end = b"\n"

    async def call(self, method: str, seconds: float | None = CALL_SECONDS, **parameters: Any) -> Any:
        """Call a method; parameters that are None are left out. seconds: how long it may take, None for ever.

        LdkRefusedError; PeerNotConnectedError, where `peer` is a parameter. NodeUnreachableError: it was not done, or
        in case of a LostError perhaps.
        """
        params = given(parameters)
        answer = await self.ask({"id": next(self._ids), "method": method, "params": params}, seconds)
        if "error" in answer:
            raise self._refusal(method, params, answer["error"])
        return answer["result"]

    def _refusal(self, method: str, given: Answer, error: Answer) -> NodeError:
        details, code = str(error.get("message", error)), int(error.get("code", 0))
        if code == PEER_NOT_CONNECTED:
            return PeerNotConnectedError(bytes.fromhex(given["peer"]))
        return LdkRefusedError(f"LDK at {self.socket} did not do {method}: {details}", code, details)
