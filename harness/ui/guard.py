"""Access control of the page and its API: a request needs the token of the address, and must come from that origin.

Any other web page that is open in the same browser can send requests to this machine's loopback address. It
does not know the token, which is the first part of every path; it has another `Origin`; and if it makes its own host
name resolve to this address (DNS rebinding), that name is in `Host`, where only an IP address and `localhost` are
accepted. There are no cookies, and no CORS headers, so a browser does not show it any response.
"""

import asyncio
import ipaddress
import secrets
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_BYTES = 24
MOST_BODY_BYTES = 64 * 1024
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""The headers of every response, unless it sets them itself."""


def new_token() -> str:
    """Return a secret for one run of the server."""
    return secrets.token_urlsafe(TOKEN_BYTES)


class RefusedError(Exception):
    """A rejected request. status: the HTTP status of the response."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class Guard:
    """Accepts requests with the token as the first part of the path, and removes it for the application."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI request. WebSockets are refused."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        body, began = _Body(receive), False

        async def answer(message: Message) -> None:
            nonlocal began
            began = True
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            check(Headers(scope=scope), scope["method"])
            within = self._within(scope)
            await self._app(within, body.receive, answer)
        except RefusedError as refused:
            if not began:
                await JSONResponse({"error": str(refused)}, refused.status)(scope, receive, answer)
        except asyncio.CancelledError:  # the server stops, and the request takes longer than its grace period
            if not began:
                said = {"error": "the server of this page stopped during this operation"}
                await JSONResponse(said, HTTPStatus.SERVICE_UNAVAILABLE)(scope, receive, answer)

    def _within(self, scope: Scope) -> Scope:
        """Return the request as the application sees it. Raises RefusedError without the token."""
        _, _, rest = scope["path"].partition("/")
        token, _, _ = rest.partition("/")
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                "this address lacks its token, or has that of an earlier run. Use the address that `testbed ui` prints",
            )
        return {**scope, "root_path": scope.get("root_path", "") + f"/{token}"}


class _Body:
    """A request's body, up to MOST_BODY_BYTES."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._bytes = 0

    async def receive(self) -> Message:
        """Return the next part of the body. Raises RefusedError if the body is too long."""
        message = await self._receive()
        self._bytes += len(message.get("body", b""))
        if self._bytes > MOST_BODY_BYTES:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has {MOST_BODY_BYTES} bytes at most")
        return message


def check(headers: Headers, method: str) -> None:
    """Raise RefusedError for a request that a page from another origin may have sent."""
    host = headers.get("host", "")
    if len(headers.getlist("host")) != 1 or not _leads_here(host):
        raise RefusedError(
            HTTPStatus.FORBIDDEN, f"the host {host[:100]!r} is not served. Use the address that `testbed ui` prints"
        )
    origin = headers.get("origin")
    if origin is not None and (len(headers.getlist("origin")) != 1 or origin != f"http://{host}"):
        raise RefusedError(HTTPStatus.FORBIDDEN, f"pages of {origin[:100]!r} have no access to this one")
    if method == "POST" and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body of a POST is JSON: content-type: application/json"
        )


def _leads_here(host: str) -> bool:
    """Return whether this is an IP address or `localhost`, with or without port: no name that DNS could rebind."""
    name, _, port = host.rpartition(":") if ":" in host and not host.endswith("]") else (host, "", "")
    if port and not (port.isascii() and port.isdigit()):
        return False
    if name == "localhost":
        return True
    try:
        if name.startswith("["):
            return name.endswith("]") and bool(ipaddress.IPv6Address(name[1:-1]))
        return bool(ipaddress.IPv4Address(name))
    except ValueError:
        return False
