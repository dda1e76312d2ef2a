"""The addresses that a webhook may point to, and the resolution of host names.

A client chooses the URL, and the LSP's machine may reach hosts that the client may not reach. Names are resolved by the
system, in threads that clients share fairly: a call of its resolver cannot be cancelled, and a name whose server never
answers keeps a thread for half a minute. So a thread counts for a client's share even if nothing waits for it any more.
"""

import asyncio
import socket
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, TypeAlias

import httpx

from asyncpay.fair_shares import FairSemaphore

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# Networks that are missing from Python's tables of special networks, at least in some version of Python.
_ALSO_NOT_PUBLIC = tuple(
    map(
        ip_network,
        (
            "192.0.0.0/24",  # protocol assignments; Oracle's cloud serves its metadata there
            "168.63.129.16",  # in a public range, but Azure serves its own virtual machines there
            "2002::/16",  # 6to4: contains an IPv4 address, which may be a private one
            "fec0::/10",  # site-local
        ),
    )
)


class UrlError(ValueError):
    """The text is not a URL; the message says why."""


def parse_url(text: str) -> tuple[httpx.URL, str]:
    """Return a URL and its host in Unicode. UrlError for any other text.

    Both must be parsed at the boundary: httpx decodes an internationalized host (`xn--...`) only on access, and then
    raises idna's own errors.
    """
    try:
        url = httpx.URL(text)
        return url, url.host
    except (httpx.InvalidURL, ValueError) as error:  # idna.IDNAError is a UnicodeError, and so a ValueError
        raise UrlError(str(error)) from None


def read(text: str) -> Address:
    """Parse an address from a resolver; an IPv4-mapped IPv6 address (::ffff:10.0.0.1) becomes the IPv4 address."""
    address = ip_address(text.partition("%")[0])
    return (address.version == 6 and address.ipv4_mapped) or address


def permitted(address: Address, allowed_networks: Iterable[Network]) -> bool:
    """Return whether connections to the address are permitted: it is public, or the operator allows it."""
    return _is_public(address) or any(address in network for network in allowed_networks)


def _is_public(address: Address) -> bool:
    special = address.is_private or address.is_multicast or address.is_reserved
    return address.is_global and not special and not any(address in network for network in _ALSO_NOT_PUBLIC)


MAX_THREADS = 64
MAX_THREADS_OF_A_CLIENT = 4
MAX_WAITING_NAMES = 20
"""Names of one client that wait for a thread."""


class Resolver:
    """The system's resolver. It must be closed."""

    def __init__(self) -> None:
        # Not the event loop's own threads: slow name resolution must not delay other work.
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="resolve")
        self._shares = FairSemaphore(each=MAX_THREADS_OF_A_CLIENT, waiting=MAX_WAITING_NAMES, at_once=MAX_THREADS)
        self._under_way: dict[tuple[str, int], Future[Any]] = {}

    async def resolve(self, party: Hashable, host: str, port: int) -> list[str]:
        """Return addresses as text, best first. OSError or UnicodeError if there are none; TooManyError.

        What a thread finds is for all who ask for the same name meanwhile: many clients have webhooks at one host, and
        if its name server does not answer, that takes one thread.
        """
        asked = self._under_way.get((host, port)) or await self._ask(party, host, port)
        found = await asyncio.shield(asyncio.wrap_future(asked))
        return [str(address[0]) for *_, address in found]

    async def _ask(self, party: Hashable, host: str, port: int) -> "Future[Any]":
        """Have a thread ask the system's resolver when it is the party's turn, unless one does by then."""
        loop, name = asyncio.get_running_loop(), (host, port)
        slot = self._shares.slot(party)
        await slot.__aenter__()
        try:
            asked = self._under_way.get(name)
            if asked is None:
                asked = self._threads.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        except BaseException:
            slot.release()
            raise
        if name in self._under_way:
            slot.release()
            return asked
        self._under_way[name] = asked

        def ended() -> None:
            del self._under_way[name]
            slot.release()

        asked.add_done_callback(lambda _: _call_in(loop, ended))
        return asked

    def close(self) -> None:
        """Shut down the threads, and cancel resolutions that have not started."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _call_in(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed, and nothing waits any more
        loop.call_soon_threadsafe(call)
