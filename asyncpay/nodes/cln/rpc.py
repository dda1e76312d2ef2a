"""Core Lightning's JSON-RPC over its Unix socket, and its errors in our words."""

import asyncio
import json
from itertools import count
from pathlib import Path
from typing import Any

from asyncpay.nodes.base import NodeError, NodeUnreachableError

CALL_SECONDS = 30
"""The longest that a call which CLN can answer at once may take."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Room for large graphs and long payment lists."""
END = b"\n\n"
"""What lightningd writes after each answer, and never within one."""

_STARTING = "still starting up"
"""What a lightningd says of methods that wait for its first look at the chain."""

Answer = dict[str, Any]


class ClnRefusedError(NodeError):
    """CLN answered, and refused. code: of CLN's documentation; details: its own words; data: what it adds."""

    def __init__(self, sentence: str, code: int, details: str, data: Answer) -> None:
        super().__init__(sentence)
        self.code = code
        self.details = details
        self.data = data


class ClnLostError(NodeUnreachableError):
    """CLN was asked and went away before it answered: it may or may not have done it."""


class Rpc:
    """One lightningd. Every call is a connection of its own, so the node may go away and come back at any time, and
    a call that waits delays no other.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._ids = count(1)

    async def call(self, method: str, seconds: float | None = CALL_SECONDS, **parameters: Any) -> Answer:
        """Call a method; parameters that are None are left out. seconds: how long it may take, None for ever.

        ClnRefusedError. NodeUnreachableError: it was not done, or in case of a ClnLostError perhaps.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        request = {"jsonrpc": "2.0", "id": f"asyncpay:{method}#{next(self._ids)}", "method": method, "params": given}
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket, limit=MAX_ANSWER_BYTES)
        except OSError as error:
            raise NodeUnreachableError(f"CLN at {self.socket} cannot be reached: {error}") from None
        try:
            async with asyncio.timeout(seconds):
                writer.write(json.dumps(request, ensure_ascii=False).encode())
                await writer.drain()
                # Other people's text in it, such as an alias, may be no UTF-8: that spoils itself, not the answer.
                answer: Answer = json.loads((await reader.readuntil(END)).decode(errors="replace"))
        except TimeoutError:
            raise ClnLostError(f"CLN at {self.socket} did not answer {method} within {seconds} s") from None
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise ClnLostError(f"CLN at {self.socket} did not answer {method}: {error}") from None
        finally:
            writer.close()
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
