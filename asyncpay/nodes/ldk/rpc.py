"""ldkd's JSON-RPC over its Unix socket, a line each way, and its errors in our words."""

import asyncio
import json
from itertools import count
from pathlib import Path
from typing import Any

from asyncpay.nodes.base import NodeError, NodeUnreachableError, PeerNotConnectedError

CALL_SECONDS = 30
"""The longest that a call which ldkd can answer at once may take."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Room for a page of events, and for large graphs."""

PEER_NOT_CONNECTED = -18002
"""ldkd's code (docker/ldk/src/rpc.rs) for something that is to be given to a peer that is away."""

Answer = dict[str, Any]


class LdkRefusedError(NodeError):
    """ldkd answered, and refused. code: of docker/ldk/src/rpc.rs; details: its own words."""

    def __init__(self, sentence: str, code: int, details: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.details = details


class LdkLostError(NodeUnreachableError):
    """ldkd was asked and went away before it answered: it may or may not have done it."""


class Rpc:
    """One ldkd. Every call is a connection of its own, so the node may go away and come back at any time."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._ids = count(1)

    async def call(self, method: str, seconds: float | None = CALL_SECONDS, **parameters: Any) -> Any:
        """Call a method; parameters that are None are left out. seconds: how long it may take, None for ever.

        LdkRefusedError; PeerNotConnectedError, where `peer` is a parameter. NodeUnreachableError: it was not done, or
        in case of an LdkLostError perhaps.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        request = {"id": next(self._ids), "method": method, "params": given}
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket, limit=MAX_ANSWER_BYTES)
        except OSError as error:
            raise NodeUnreachableError(f"LDK at {self.socket} cannot be reached: {error}") from None
        try:
            async with asyncio.timeout(seconds):
                writer.write(json.dumps(request).encode() + b"\n")
                await writer.drain()
                answer: Answer = json.loads(await reader.readuntil(b"\n"))
        except TimeoutError:
            raise LdkLostError(f"LDK at {self.socket} did not answer {method} within {seconds} s") from None
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise LdkLostError(f"LDK at {self.socket} did not answer {method}: {error}") from None
        finally:
            writer.close()
        if "error" in answer:
            raise self._refusal(method, given, answer["error"])
        return answer["result"]

    def _refusal(self, method: str, given: Answer, error: Answer) -> NodeError:
        details, code = str(error.get("message", error)), int(error.get("code", 0))
        if code == PEER_NOT_CONNECTED:
            return PeerNotConnectedError(bytes.fromhex(given["peer"]))
        return LdkRefusedError(f"LDK at {self.socket} did not do {method}: {details}", code, details)
