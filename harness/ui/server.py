"""The server of the page and the API, until Ctrl-C."""

import ipaddress
import socket
from dataclasses import dataclass

import uvicorn

from harness.errors import TestbedError
from harness.ui.api import web
from harness.ui.connections import Connection
from harness.ui.guard import Guard, new_token
from harness.ui.watcher import Watcher

LOOPBACK = "127.0.0.1"
MOST_CONNECTIONS = 200
GRACE_SECONDS = 2
"""The grace period for requests in progress when the server stops."""


@dataclass(frozen=True)
class Address:
    """The address of the page. token: the secret in its path."""

    host: str
    port: int
    token: str

    @property
    def url(self) -> str:
        """The URL for a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/{self.token}/"


class Server:
    """A server that listens immediately, so that its address is known, and answers once it runs."""

    def __init__(self, watcher: Watcher, host: str = LOOPBACK, port: int = 0) -> None:
        """Raises TestbedError if it cannot listen at this address. port: 0 for any free port."""
        self._socket = _listen(host, port)
        self.address = Address(host, self._socket.getsockname()[1], new_token())
        guarded = Guard(web(watcher), self.address.token)
        config = uvicorn.Config(
            guarded,
            access_log=False,  # it would contain the token
            log_level="warning",
            timeout_graceful_shutdown=GRACE_SECONDS,
            server_header=False,
            proxy_headers=False,
            http=Connection,
            ws="none",
            limit_concurrency=MOST_CONNECTIONS,
        )
        self._server = _Uvicorn(config, watcher)

    def run(self) -> None:
        """Serve until Ctrl-C (KeyboardInterrupt), or `end`."""
        self._server.run(sockets=[self._socket])

    def end(self) -> None:
        """Stop `run`, from another thread."""
        self._server.should_exit = True


class _Uvicorn(uvicorn.Server):
    """A server that ends all waits for events before it waits for the requests in progress."""

    def __init__(self, config: uvicorn.Config, watcher: Watcher) -> None:
        super().__init__(config)
        self._watcher = watcher

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn.Server.shutdown."""
        self._watcher.stop()
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        raise TestbedError(f"--bind {host}: not an IP address. Use {LOOPBACK}, or one of this machine's") from None
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise TestbedError(
            f"the page cannot be served at {host}, port {port}: {error.strerror}. Choose another --port or --bind"
        ) from None
    return listening
