"""A separate network for each testbed, in which every service keeps its address, also across restarts."""

import random
from ipaddress import IPv4Network
from pathlib import Path

from harness.engines.base import EngineError

POOL = IPv4Network("10.128.0.0/9")
"""Private addresses (RFC 1918) that few other programs use."""
NOT_HOSTS = 3
"""The network's own address, the gateway's, and the broadcast's."""
TRIES = 200
ROUTES = Path("/proc/net/route")


def free_subnet(services: int, routes: Path = ROUTES) -> IPv4Network:
    """Return a network of the pool with this number of addresses, to which this machine has no route.

    Docker's networks are among the routes. Raises EngineError if there is none.
    """
    prefix = min(26, 32 - (services + NOT_HOSTS - 1).bit_length())
    taken = _routed(routes)
    for _ in range(TRIES):
        number = random.randrange(2 ** (prefix - POOL.prefixlen))
        found = IPv4Network((int(POOL.network_address) + (number << (32 - prefix)), prefix))
        if not any(found.overlaps(network) for network in taken):
            return found
    raise EngineError(f"no network of {POOL} is free for the testbed: remove testbeds, or routes into it")


def _routed(routes: Path) -> list[IPv4Network]:
    """Return the networks in the kernel's routing table, without the default route."""
    if not routes.exists():  # not Linux
        return []
    found = []
    for line in routes.read_text().splitlines()[1:]:
        _, destination, _, _, _, _, _, mask, *_ = line.split()
        address, bits = (int.from_bytes(bytes.fromhex(word), "little") for word in (destination, mask))
        if bits:
            found.append(IPv4Network((address, bits.bit_count())))
    return found
