"""Shared secrets on secp256k1: the sender's chain over all hops, and the receiver's oracle for its own hop (BOLT 4).

A shared secret is always SHA256 of the compressed product of one side's private key and the other side's
point. The sender derives all of them from its session key with `chain`. A receiver's node key stays in its
node's signer. So every function that needs it here is a generator, `Steps`: it yields a point (33 bytes), receives the
secret (32 bytes), and returns its result. `run` drives it with a function, `run_async` with a coroutine:

    onion.peel(packet, path_key, coincurve.PrivateKey(node_secret).ecdh)
    await ecdh.run_async(onion.peel_steps(packet, path_key), lnd_derive_shared_key)
"""

import hmac
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from hashlib import sha256
from typing import TypeVar

from coincurve import PrivateKey, PublicKey

from asyncpay.wire.errors import WireError

Result = TypeVar("Result")
Steps = Generator[bytes, bytes, Result]
Oracle = Callable[[bytes], bytes]
AsyncOracle = Callable[[bytes], Awaitable[bytes]]


def run(steps: Steps[Result], oracle: Oracle) -> Result:
    """Run `steps` and return their result; oracle(point) = SHA256(compressed(node key * point))."""
    try:
        point = next(steps)
        while True:
            point = steps.send(oracle(point))
    except StopIteration as done:
        result: Result = done.value
        return result


async def run_async(steps: Steps[Result], oracle: AsyncOracle) -> Result:
    """Do `run` with an asynchronous signer, such as LND's signrpc DeriveSharedKey."""
    try:
        point = next(steps)
        while True:
            point = steps.send(await oracle(point))
    except StopIteration as done:
        result: Result = done.value
        return result


def chain(session_key: bytes, points: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield (ephemeral point, shared secret) for each hop, 33 and 32 bytes; blinded paths and onions both use it.

    session_key: 32 secret random bytes, fresh for every path and every onion. points: the hops' public keys.
    """
    key = _private_key(session_key)
    for point in points:
        ephemeral, secret = key.public_key.format(), key.ecdh(parse_point(point).format())
        yield ephemeral, secret
        key = key.multiply(sha256(ephemeral + secret).digest())


def next_ephemeral(ephemeral: bytes, secret: bytes) -> bytes:
    """Return the ephemeral point (33 bytes) of the next hop, as a receiver computes it."""
    return multiply(ephemeral, sha256(ephemeral + secret).digest())


def blind(point: bytes, secret: bytes) -> bytes:
    """Blind a node id with its hop's shared secret; the receiver blinds the onion's ephemeral point the same way."""
    return multiply(point, derive(b"blinded_node_id", secret))


def derive(label: bytes, secret: bytes) -> bytes:
    """Return the 32-byte key for one use ("rho", "mu", "pad", "blinded_node_id") of a shared secret."""
    return hmac.digest(label, secret, "sha256")


def multiply(point: bytes, scalar: bytes) -> bytes:
    """Return the compressed product, 33 bytes."""
    return parse_point(point).multiply(scalar).format()


def checked_point(data: bytes) -> bytes:
    """Return `data` itself, if it is a compressed point; WireError if not."""
    parse_point(data)
    return data


def parse_point(data: bytes) -> PublicKey:
    """Parse a compressed point; WireError if these are not 33 bytes of a valid one."""
    if len(data) != 33:
        raise WireError(f"a public key of {len(data)} bytes; a compressed one has 33")
    try:
        return PublicKey(data)
    except ValueError as error:
        raise WireError(f"{data.hex()} is not a valid secp256k1 point") from error


def _private_key(secret: bytes) -> PrivateKey:
    try:
        if len(secret) == 32:
            return PrivateKey(secret)
    except ValueError:
        pass
    raise WireError("a session key must be 32 bytes that make a number above 0 and below the curve's order")
