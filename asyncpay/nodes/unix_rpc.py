"""JSON-RPC calls over a node's Unix socket."""

import asyncio
import json
from itertools import count
from pathlib import Path
from typing import Any

from asyncpay.nodes.base import NodeUnreachableError

CALL_SECONDS = 30
"""The time limit of a call that the node can answer immediately."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Enough for large graphs, long payment lists and a page of events."""

Answer = dict[str, Any]


class LostError(NodeUnreachableError):
    """The connection broke before the node answered: the node may or may not have carried out the call."""


class UnixRpc:
    """The RPC of one node. Every call has its own connection, so the node may restart at any time, and a waiting call
    delays no other.

    implementation: for users. end: the bytes that the node writes after each answer, and never within one. request_end:
    the bytes that it expects after each request.
    """

    implementation: str
    end: bytes
    request_end = b""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._ids = count(1)

    async def ask(self, request: Answer, seconds: float | None) -> Answer:
        """Send a request and return the whole answer. seconds: the time limit, None for no limit.

        NodeUnreachableError: it was not carried out; if it is a LostError, it may have been.
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
                # Untrusted text in it, such as an alias, may be invalid UTF-8: only that text is replaced.
                answer: Answer = json.loads((await reader.readuntil(self.end)).decode(errors="replace"))
                return answer
        except TimeoutError:
            raise LostError(f"{where} did not answer {method} within {seconds} s") from None
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise LostError(f"{where} did not answer {method}: {error}") from None
        finally:
            writer.close()


def given(parameters: Answer) -> Answer:
    """Return the parameters of a call without those that are None."""
    return {name: value for name, value in parameters.items() if value is not None}
