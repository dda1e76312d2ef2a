"""One gRPC channel to one LND: TLS with its certificate, a macaroon with each call, stubs, errors in our words."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

import grpc

from asyncpay.nodes.base import NodeError, NodeUnreachableError
from asyncpay.nodes.proto.chainkit_pb2_grpc import ChainKitStub
from asyncpay.nodes.proto.chainnotifier_pb2_grpc import ChainNotifierStub
from asyncpay.nodes.proto.lightning_pb2_grpc import LightningStub
from asyncpay.nodes.proto.router_pb2_grpc import RouterStub
from asyncpay.nodes.proto.signer_pb2_grpc import SignerStub

Channel = TypeVar("Channel", grpc.Channel, grpc.aio.Channel)

# LND answers for large graphs and long payment lists; gRPC's 4 MB would cut them off.
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024

OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    # The certificate is pinned and always names `localhost`; the address dialled may be any.
    ("grpc.ssl_target_name_override", "localhost"),
    # Macaroons are for the node alone: no proxy of the environment (https_proxy) comes between.
    ("grpc.enable_http_proxy", 0),
]


class _WithMacaroon:
    """A channel as stubs see one: each of their calls carries the macaroon."""

    def __init__(self, channel: grpc.Channel | grpc.aio.Channel, macaroon: bytes) -> None:
        self._metadata = (("macaroon", macaroon.hex()),)
        self.unary_unary = self._calls(channel.unary_unary)
        self.unary_stream = self._calls(channel.unary_stream)
        self.stream_unary = self._calls(channel.stream_unary)
        self.stream_stream = self._calls(channel.stream_stream)

    def _calls(self, method: Callable[..., Callable[..., Any]]) -> Callable[..., Callable[..., Any]]:
        return lambda *args, **options: partial(method(*args, **options), metadata=self._metadata)


def with_macaroon(channel: Channel, macaroon: bytes) -> Channel:
    """What the stubs of this channel are to be made of. Close the channel itself. macaroon: the file's raw bytes.

    gRPC's own way, `metadata_call_credentials`, has a plugin whose end may stop the whole process for ever when a
    channel is closed (grpc/grpc#42247; seen once, when a command was done).
    """
    return cast(Channel, _WithMacaroon(channel, macaroon))


def credentials(tls_certificate: bytes) -> grpc.ChannelCredentials:
    """Credentials for `grpc.secure_channel` and `grpc.aio.secure_channel`.

    tls_certificate: the node's tls.cert (PEM), the only certificate trusted.
    """
    return grpc.ssl_channel_credentials(tls_certificate)


ReadCredentials: TypeAlias = Callable[[], tuple[bytes, bytes]]
"""Reads tls.cert (PEM) and the macaroon's raw bytes. NodeUnreachableError while they cannot be read."""

CALL_SECONDS = 30
"""The longest that a call which LND can answer at once may take."""

_OPTIONS = [
    *OPTIONS,
    # A node that comes back should not be waited for longer than it was away.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # In spite of its name: how long an attempt may take, and on a busy machine the TLS handshake takes long.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # It may come back at another address, as restarted containers do; by default its name is looked up every 30 s.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # A half-open connection shows on streams only if it is probed, LND allows every 5 s; and goes on asking, which
    # gRPC by default does not where no data flow; and does not wait for the answer to some other ping for a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
]

_ABSENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
_NOT_READY = ("waiting to start", "wallet locked", "wallet not created", "process of starting", "shutting down")
"""What an LND that comes up or goes down says, under a code that it uses for everything."""
_BROKEN = ("RST_STREAM", "Stream removed", "stream terminated")
"""What gRPC says for itself of a call that broke, as INTERNAL or UNKNOWN. LND may have done its part, or not."""


class LndRefusedError(NodeError):
    """LND answered, and refused. code: gRPC's, where LND took the trouble; details: its own words."""

    def __init__(self, sentence: str, code: grpc.StatusCode, details: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.details = details


class Connection:
    """Must be made inside a running event loop. Nothing is sent before the first call, and a connection that is
    lost comes back with the next one, so that the node may be away at any time.
    """

    def __init__(self, address: str, read: ReadCredentials) -> None:
        """Raises what `read` raises: NodeUnreachableError."""
        self.address = address
        self._read = read
        self._credentials = read()
        self._open()

    def _open(self) -> None:
        tls_certificate, macaroon = self._credentials
        self._channel = grpc.aio.secure_channel(self.address, credentials(tls_certificate), options=_OPTIONS)
        channel = with_macaroon(self._channel, macaroon)
        self.lightning = LightningStub(channel)
        self.router = RouterStub(channel)
        self.signer = SignerStub(channel)
        self.chain = ChainNotifierStub(channel)
        self.chain_kit = ChainKitStub(channel)

    async def renew(self) -> None:
        """Connect anew if LND has another certificate or macaroon by now. NodeUnreachableError if there is none."""
        credentials = self._read()
        if credentials != self._credentials:
            before = self._channel
            self._credentials = credentials
            self._open()
            await before.close()

    async def close(self) -> None:
        """Hang up. Every stream and call ends."""
        await self._channel.close()

    @contextmanager
    def calling(self, what: str) -> Iterator[None]:
        """Around any call: gRPC's errors become NodeUnreachableError or LndRefusedError, saying what failed."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            details = error.details() or error.code().name
            sentence = f"LND at {self.address} did not {what}: {details}"
            if error.code() in _ABSENT or any(words in details for words in (*_NOT_READY, *_BROKEN)):
                raise NodeUnreachableError(sentence) from None
            raise LndRefusedError(sentence, error.code(), details) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # This task was not cancelled: gRPC ends the calls of a connection that is closed like this.
            raise NodeUnreachableError(f"LND at {self.address} did not {what}: the connection was closed") from None
