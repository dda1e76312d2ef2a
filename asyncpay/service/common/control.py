"""The control socket, over which a command line sends requests to the running component: JSON lines over a Unix socket
in the folder of its store.

There is one request per connection: `{"component": "wallet", "verb": "pay", "arguments": {...}}`. The answer is any
number of lines `{"progress": ...}` and then one of `{"result": ...}` or `{"error": "..."}`. The client side is
control_client.py.
"""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias
from weakref import WeakSet

from asyncpay.service.common.control_client import Plain, RefusedError

Progress: TypeAlias = Callable[[Plain], Awaitable[None]]
Verb: TypeAlias = Callable[[Mapping[str, Any], Progress], Awaitable[Plain]]

MAX_LINE_BYTES = 1_000_000


class SocketError(Exception):
    """The control socket cannot be created; the text gives the reason and a remedy."""


@asynccontextmanager
async def serving(path: Path, verbs: Mapping[str, Verb], component: str = "component") -> AsyncIterator[None]:
    """Answer all connections in this context. Only this user may connect. component: `LSP` or `wallet`.

    At the end all connections are closed, whether or not their answers were read. Raises SocketError.
    """
    answering: set[asyncio.Task[None]] = set()
    connections: WeakSet[asyncio.StreamWriter] = WeakSet()
    over = False

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if over:  # it was accepted just before
            writer.close()
            return
        connections.add(writer)
        task = asyncio.create_task(_answer(verbs, component, reader, writer))
        answering.add(task)
        task.add_done_callback(answering.discard)
        task.add_done_callback(lambda _: writer.close())  # also if it is cancelled before it begins

    listener = listen(path)
    async with await asyncio.start_unix_server(begin, sock=listener, limit=MAX_LINE_BYTES) as server:
        try:
            yield
        finally:
            over = True
            # A server that closes while it accepts leaves that connection open (python/cpython#109564). So first it
            # stops accepting, and after one iteration of the loop the last connection has reached `begin`.
            asyncio.get_running_loop().remove_reader(listener)
            await asyncio.sleep(0)
            server.close()
            for task in answering:
                task.cancel()
            # Since Python 3.12 a server waits for its connections, and one whose client does not read never closes.
            for writer in list(connections):
                writer.transport.abort()


async def _answer(
    verbs: Mapping[str, Verb], component: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    async def say(kind: str, what: Plain) -> None:
        writer.write(json.dumps({kind: what}).encode() + b"\n")
        await writer.drain()

    try:
        request = json.loads(await reader.readline())
        _check_component(component, request.get("component", component))
        verb = verbs[request["verb"]]
        await say("result", await verb(request["arguments"], lambda what: say("progress", what)))
    except RefusedError as refusal:
        await _say_if_there(say, str(refusal))
    except ConnectionError:
        pass  # the command line has disconnected; work that was begun continues
    except (ValueError, KeyError, TypeError) as error:
        await _say_if_there(say, f"the request is not understood: {error!r}")
    except Exception as error:  # last resort: a bug ends only this request
        await _say_if_there(say, f"the request failed: unexpected error {error!r}")
    finally:
        writer.close()


async def _say_if_there(say: Callable[[str, Plain], Awaitable[None]], what: str) -> None:
    with suppress(OSError):
        await say("error", what)


def _check_component(runs: str, asked: Plain) -> None:
    if asked != runs:
        raise RefusedError(
            f"the {runs} runs with this configuration, not the {asked}. Name the other configuration with --config."
        )


def listen(path: Path) -> socket.socket:
    """Return a listening Unix socket that only this user can connect to. Raises SocketError."""
    listener = socket.socket(socket.AF_UNIX)
    old_mask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)  # left by a killed process: this one holds the store's lock, so none is running
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise SocketError(
            f"cannot listen at {path}: {error.strerror or error}. Remove the file, or choose another path for the "
            "store: the socket is in the same folder."
        ) from None
    finally:
        os.umask(old_mask)
    return listener
