"""Posts to webhooks. The servers belong to others: they may be slow, broken or malicious.

A name is resolved once, and connections are made only to permitted addresses of the result. TLS still checks
the name. Only the status of the answer is read, redirects are not followed, and a post may take ten seconds in total.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeAlias
from weakref import WeakValueDictionary

import httpx

from asyncpay.engine.lsp.records import Webhook
from asyncpay.fair_shares import FairSemaphore, TooManyError
from asyncpay.lightning import NodeId
from asyncpay.lsps import addresses, notifications
from asyncpay.lsps.addresses import Address, Network, Resolver
from asyncpay.lsps.notifications import Notification

TIMEOUT_SECONDS = 10
_CONNECT_SECONDS = 4
_MAX_ADDRESSES = 3
_MAX_DETAIL_CHARACTERS = 200

Resolve: TypeAlias = Callable[[str, int], Awaitable[Iterable[str]]]
"""Resolve host and port to addresses as text, best first; OSError or UnicodeError if there are none."""


class Failure(Enum):
    """The reason why a post failed."""

    URL = "its URL is not https"
    NAME = "its name cannot be resolved"
    ADDRESS = "its address is not permitted"
    CONNECTION = "no connection"
    CERTIFICATE = "its certificate is not valid for its name and a trusted authority"
    TIMEOUT = "no answer in time"
    PROTOCOL = "it broke off, or did not answer in HTTP"
    STATUS = "its answer was not 200"
    QUOTA = "too many posts to this client wait"


@dataclass(frozen=True, slots=True)
class Posted:
    """The result of a post. failure: None if it was delivered. detail: for the operator's log."""

    failure: Failure | None = None
    detail: str = ""

    @property
    def delivered(self) -> bool:
        """Whether the server has accepted it."""
        return self.failure is None


class Poster:
    """Post to URLs of clients. An async context manager.

    ca_file: certificates (PEM) trusted in addition to the usual authorities. allowed_networks: networks that are not
    public but permitted. ValueError if the file cannot be used.
    """

    def __init__(
        self,
        ca_file: Path | None = None,
        allowed_networks: Iterable[Network] = (),
        *,
        resolve: Resolve | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._resolver = Resolver()
        self._resolve = resolve
        self._allowed_networks = tuple(allowed_networks)
        self._timeout_seconds = timeout_seconds
        self._tls = _tls_context(ca_file)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._resolver.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, party: Hashable = None) -> Posted:
        """Post once. Raise nothing: the result reports failures.

        party: the party whose share of the resolver is used.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                status = await self._status(url, headers, body, party)
        except _UnusableError as error:
            return error.posted
        except TooManyError as error:
            return Posted(Failure.QUOTA, f"its name was not resolved: {error}")
        except (TimeoutError, httpx.TimeoutException):
            return Posted(Failure.TIMEOUT, f"{self._timeout_seconds} s")
        except httpx.ConnectError as error:
            return Posted(Failure.CERTIFICATE if _is_about_certificate(error) else Failure.CONNECTION, str(error))
        except (httpx.HTTPError, OSError) as error:
            return Posted(Failure.PROTOCOL, str(error)[:_MAX_DETAIL_CHARACTERS])  # it quotes the server
        except Exception as error:  # last resort: a server that triggers a bug in a library ends only its own post
            return Posted(Failure.PROTOCOL, repr(error)[:_MAX_DETAIL_CHARACTERS])
        return Posted() if status == httpx.codes.OK else Posted(Failure.STATUS, f"it was {status}")

    async def _status(self, url: str, headers: Mapping[str, str], body: bytes, party: Hashable) -> int:
        try:
            target, host = addresses.parse_url(url)
        except addresses.UrlError as error:
            raise _UnusableError(Failure.URL, str(error)) from None
        if target.scheme != "https" or not host:
            raise _UnusableError(Failure.URL, url)
        # No httpx client: it would parse the server's cookies, and Location although no redirect is followed.
        # One transport for each post: a reused connection would lead to an address that was not checked again.
        timeout = httpx.Timeout(None, connect=_CONNECT_SECONDS)
        request = httpx.Request(
            "POST",
            target,
            headers={"user-agent": "asyncpay", "accept": "*/*", **headers},
            content=body,
            extensions={"timeout": timeout.as_dict()},
        )
        async with _PinnedTransport(partial(self._addresses, party), self._tls) as transport:
            response = await transport.handle_async_request(request)
            await response.aclose()
            return response.status_code

    async def _addresses(self, party: Hashable, host: str, port: int) -> list[Address]:
        resolve = self._resolve or partial(self._resolver.resolve, party)
        try:
            found = [addresses.read(text) for text in await resolve(host, port)]
        except (OSError, ValueError) as error:  # ValueError: from idna, or the resolver returned an invalid address
            raise _UnusableError(Failure.NAME, f"{host}: {error}") from error
        permitted = [each for each in found if addresses.permitted(each, self._allowed_networks)]
        if not permitted:
            listed = ", ".join(map(str, found))
            raise _UnusableError(
                Failure.ADDRESS, f"{host} resolves to {listed}; permit it with webhooks.allowed_networks"
            )
        return permitted[:_MAX_ADDRESSES]


class _UnusableError(Exception):
    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.posted = Posted(failure, detail)


class _PinnedTransport(httpx.AsyncHTTPTransport):
    """Connect to the addresses found for a host, while TLS and the Host header keep the host's name."""

    def __init__(self, find: Callable[[str, int], Awaitable[list[Address]]], tls: ssl.SSLContext) -> None:
        super().__init__(verify=tls, trust_env=False)
        self._find = find
        self._opened: list[Any] = []  # httpcore's streams

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        host = url.raw_host.decode("ascii")
        request.extensions = {**request.extensions, "sni_hostname": host, "trace": self._trace}
        *others, last = await self._find(host, url.port or 443)
        for address in others:
            request.url = url.copy_with(host=str(address))
            with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await super().handle_async_request(request)
        request.url = url.copy_with(host=str(last))
        return await super().handle_async_request(request)

    async def __aexit__(self, *error: Any) -> None:
        await super().__aexit__(*error)
        for stream in self._opened:
            await stream.aclose()

    async def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        # httpx does not close a connection whose TLS handshake was unfinished at the timeout.
        if event == "connection.connect_tcp.complete":
            self._opened.append(info["return_value"])


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    context = httpx.create_ssl_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            raise ValueError(f"{ca_file} cannot be read as PEM certificates: {error}") from error
    return context


def _is_about_certificate(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


MAX_POSTS = 200
"""Concurrent posts of all clients together: a bound on sockets."""
MAX_POSTS_OF_A_CLIENT = 10
"""Concurrent posts of one client: as many as it may have webhooks."""
MAX_WAITING_POSTS = 40
"""Waiting posts of one client: one for each webhook and method."""


class Notifier:
    """Post notifications, to each webhook one after the other and in order. sign: the node's `sign`."""

    def __init__(
        self,
        poster: Poster,
        sign: Callable[[str], Awaitable[bytes]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._poster = poster
        self._sign = sign
        self._clock = clock
        self._last_milliseconds = 0
        self._shares = FairSemaphore(each=MAX_POSTS_OF_A_CLIENT, waiting=MAX_WAITING_POSTS, at_once=MAX_POSTS)
        self._turns: WeakValueDictionary[tuple[NodeId, str], asyncio.Lock] = WeakValueDictionary()

    async def notify(self, webhooks: Iterable[Webhook], notification: Notification) -> list[Posted]:
        """Post to all of these webhooks, and return the result of each, in the same order.

        Raises only the exceptions of `sign`; then nothing was posted.
        """
        body = notification.body()
        signed = [(webhook, await self._headers(body)) for webhook in webhooks]
        return await asyncio.gather(*(self._post(webhook, headers, body) for webhook, headers in signed))

    async def _headers(self, body: str) -> dict[str, str]:
        # Never use the same time twice: the same body at the same time has the same signature, and a server that
        # receives for several clients would take it for a replay.
        self._last_milliseconds = max(self._last_milliseconds + 1, int(self._clock() * 1000))
        when = notifications.timestamp(self._last_milliseconds)
        return notifications.headers(when, await self._sign(notifications.signed_text(when, body)))

    async def _post(self, webhook: Webhook, headers: dict[str, str], body: str) -> Posted:
        turn = self._turns.setdefault(webhook.key, asyncio.Lock())
        try:
            async with self._shares.slot(webhook.client), turn:
                return await self._poster.post(webhook.url, headers, body.encode(), webhook.client)
        except TooManyError as error:
            return Posted(Failure.QUOTA, str(error))
