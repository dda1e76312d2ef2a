"""Where a webhook may point. Its URL is a client's choice, and the LSP's machine may reach what a client may not."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import httpx

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# What Python's tables of special networks lack, in some version of Python at least.
_ALSO_NOT_PUBLIC = tuple(
    map(
        ip_network,
        (
            "192.0.0.0/24",  # protocol assignments; Oracle's cloud has its metadata there
            "168.63.129.16",  # public by number, but Azure answers its own machines there
            "2002::/16",  # 6to4: an IPv4 address of any kind inside
            "fec0::/10",  # site-local
        ),
    )
)


class UrlError(ValueError):
    """The text is not a URL; the message says why."""


def parse_url(text: str) -> tuple[httpx.URL, str]:
    """Return a URL and its host as people write it. UrlError for any other text.

    Both must be read at the boundary: httpx decodes an internationalized host (`xn--...`) only when it is asked
    for it, and raises idna's own errors then.
    """
    try:
        url = httpx.URL(text)
        return url, url.host
    except (httpx.InvalidURL, ValueError) as error:  # idna.IDNAError is a UnicodeError, and so a ValueError
        raise UrlError(str(error)) from None


def read(text: str) -> Address:
    """An address as a resolver gives it; one that is IPv4 in IPv6's clothes (::ffff:10.0.0.1) as what it is."""
    address = ip_address(text.partition("%")[0])
    return (address.version == 6 and address.ipv4_mapped) or address


def permitted(address: Address, allowed_networks: Iterable[Network]) -> bool:
    """Whether to connect there: a public address, or one that the operator allows."""
    return _is_public(address) or any(address in network for network in allowed_networks)


def _is_public(address: Address) -> bool:
    special = address.is_private or address.is_multicast or address.is_reserved
    return address.is_global and not special and not any(address in network for network in _ALSO_NOT_PUBLIC)
