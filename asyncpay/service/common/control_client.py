"""The command line's side of asyncpay.service.common.control: one request to a running component, and its answer.

It needs no event loop, so that a request takes little longer than the start of Python.
"""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

Plain: TypeAlias = Any
"""A JSON value."""


class RefusedError(Exception):
    """The component refuses the request; the text gives the reason, for users."""


class NotRunningError(Exception):
    """No component answers at the socket, or it stopped before it answered; the text names the socket."""


def ask(
    path: Path,
    verb: str,
    progress: Callable[[Plain], None] = lambda _: None,
    component: str | None = None,
    /,
    **arguments: Plain,
) -> Plain:
    """Return the running component's answer. Raises RefusedError, or NotRunningError if there is none.

    component: the expected component, `LSP` or `wallet`; RefusedError if the other one runs there. None: either.
    """
    request = {"verb": verb, "arguments": arguments} | ({} if component is None else {"component": component})
    for line in _lines(path, json.dumps(request).encode() + b"\n"):
        said = json.loads(line)
        if "progress" in said:
            progress(said["progress"])
        elif "error" in said:
            raise RefusedError(said["error"])
        else:
            return said["result"]
    raise NotRunningError(
        f"the component at {path} stopped before it answered. Started work is stored and continues when it runs."
    )


def _lines(path: Path, request: bytes) -> Iterator[str]:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
            connection.sendall(request)
            with connection.makefile(encoding="utf-8") as answer:
                yield from answer
        except ConnectionResetError:
            return
        except PermissionError as error:
            raise NotRunningError(
                f"the component at {path} cannot be asked: {error.strerror}. Run the command as the user that runs the "
                "component."
            ) from None
        except OSError as error:
            raise NotRunningError(
                f"nothing answers at {path}: {error.strerror or error}. Start the component; if it runs, its log shows "
                "what it waits for, mostly the credentials of its node."
            ) from None
