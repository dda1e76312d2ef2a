"""JSON-RPC over a node's Unix socket: one call, and what becomes of it."""

import asyncio
import json
from itertools import count
from pathlib import Path
from typing import Any

from asyncpay.nodes.base import NodeUnreachableError

CALL_SECONDS = 30
"""The longest that a call may take which the node can answer immediately."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Room for large graphs, long payment lists and a page of events."""

Answer = dict[str, Any]


class LostError(NodeUnreachableError):
    """The node was asked and went away before it answered: it may or may not have done it."""


class UnixRpc:
    """One node. Every call is a connection of its own, so the node may go away and come back at any time, and a call
    that waits delays no other.

    implementation: for people. end: what the node writes after each answer, and never within one. request_end: what it
    wants after each request.
    """

    implementation: str
    end: bytes
    request_end = b""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._ids = count(1)

    async def ask(self, request: Answer, seconds: float | None) -> Answer:
        """Send a request and return the whole answer to it. seconds: how long it may take, None for ever.

        NodeUnreachableError: it was not done, or in case of a LostError perhaps.
        """
        where, method = f"{self.implementation} at {self.socket}", request["method"]
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket, limit=MAX_ANSWER_BYTES)
        except OSError as error:
            raise NodeUnreachableError(f"{where} cannot be reached: {error}") from None
        try:
            async with asyncio.timeout(seconds):
                writer.write(json.dumps(request, ensure_ascii=False).encode() + self.request_end)
                await writer.drain()
                # Other people's text in it, such as an alias, may be no UTF-8: that spoils itself, not the answer.
                answer: Answer = json.loads((await reader.readuntil(self.end)).decode(errors="replace"))
                return answer
        except TimeoutError:
            raise LostError(f"{where} did not answer {method} within {seconds} s") from None
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise LostError(f"{where} did not answer {method}: {error}") from None
        finally:
            writer.close()


def given(parameters: Answer) -> Answer:
    """The parameters of a call without those that are None."""
    return {name: value for name, value in parameters.items() if value is not None}
