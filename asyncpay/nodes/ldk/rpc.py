"""ldkd's JSON-RPC over its Unix socket, one line in each direction, with its errors translated."""

from typing import Any

from asyncpay.nodes.base import NodeError, PeerNotConnectedError
from asyncpay.nodes.unix_rpc import CALL_SECONDS, Answer, UnixRpc, given

PEER_NOT_CONNECTED = -18002
"""ldkd's error code (docker/ldk/src/rpc.rs) for a message to a peer that is not connected."""


class LdkRefusedError(NodeError):
    """ldkd returned an error. code: of docker/ldk/src/rpc.rs; details: ldkd's message."""

    def __init__(self, sentence: str, code: int, details: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.details = details


class Rpc(UnixRpc):
    """The RPC of one ldkd."""

    implementation = "LDK"
    end = request_end = b"\n"

    async def call(self, method: str, seconds: float | None = CALL_SECONDS, **parameters: Any) -> Any:
        """Call a method; parameters that are None are omitted. seconds: the time limit, None for no limit.

        Raises LdkRefusedError; PeerNotConnectedError, if `peer` is a parameter. NodeUnreachableError: it was not
        carried out; if it is a LostError, it may have been.
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
        return LdkRefusedError(f"LDK at {self.socket} did not execute {method}: {details}", code, details)
