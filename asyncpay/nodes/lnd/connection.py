"""One gRPC channel to one LND: TLS with its certificate, a macaroon with each call, stubs, translated errors."""

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

# Answers of LND with large graphs and long payment lists exceed gRPC's default limit of 4 MB.
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024

OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    # The certificate is pinned and always names `localhost`; the address dialled may be any.
    ("grpc.ssl_target_name_override", "localhost"),
    # Only the node may see macaroons: a proxy of the environment (https_proxy) is not used.
    ("grpc.enable_http_proxy", 0),
]


class _WithMacaroon:
    """A channel for stubs that adds the macaroon to each call."""

    def __init__(self, channel: grpc.Channel | grpc.aio.Channel, macaroon: bytes) -> None:
        self._metadata = (("macaroon", macaroon.hex()),)
        self.unary_unary = self._calls(channel.unary_unary)
        self.unary_stream = self._calls(channel.unary_stream)
        self.stream_unary = self._calls(channel.stream_unary)
        self.stream_stream = self._calls(channel.stream_stream)

    def _calls(self, method: Callable[..., Callable[..., Any]]) -> Callable[..., Callable[..., Any]]:
        return lambda *args, **options: partial(method(*args, **options), metadata=self._metadata)


def with_macaroon(channel: Channel, macaroon: bytes) -> Channel:
    """Return a channel for stubs. Close the original channel. macaroon: the file's raw bytes.

    gRPC's own mechanism, `metadata_call_credentials`, has a plugin whose shutdown may block the whole process forever
    when a channel is closed (grpc/grpc#42247; seen once, at the end of a command).
    """
    return cast(Channel, _WithMacaroon(channel, macaroon))


def credentials(tls_certificate: bytes) -> grpc.ChannelCredentials:
    """Return credentials for `grpc.secure_channel` and `grpc.aio.secure_channel`.

    tls_certificate: the node's tls.cert (PEM), the only certificate trusted.
    """
    return grpc.ssl_channel_credentials(tls_certificate)


ReadCredentials: TypeAlias = Callable[[], tuple[bytes, bytes]]
"""Read tls.cert (PEM) and the macaroon's raw bytes. NodeUnreachableError while they cannot be read."""

CALL_SECONDS = 30
"""The time limit of a call that LND can answer immediately."""

_OPTIONS = [
    *OPTIONS,
    # The pause before a reconnection should not be longer than the node was away.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Despite its name this is the time limit of an attempt; on a busy machine the TLS handshake takes long.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # The node may return at another address, as restarted containers do; by default names are resolved every 30 s.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # Streams detect a half-open connection only by pings, which LND allows every 5 s. By default gRPC stops pinging
    # when no data are sent, and waits a minute for the answer to some other ping.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
]

_ABSENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
_NOT_READY = ("waiting to start", "wallet locked", "wallet not created", "process of starting", "shutting down")
"""In errors of an LND that starts or stops, with a status code that LND uses for everything."""
_BROKEN = ("RST_STREAM", "Stream removed", "stream terminated")
"""In gRPC's own errors of a broken call, as INTERNAL or UNKNOWN. LND may or may not have carried out the call."""


class LndRefusedError(NodeError):
    """LND returned an error. code: gRPC's, if LND sets a specific one; details: LND's message."""

    def __init__(self, sentence: str, code: grpc.StatusCode, details: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.details = details


class Connection:
    """A connection to LND. It must be created inside a running event loop. Nothing is sent before the first call, and
    the next call reopens a lost connection, so the node may be unreachable at any time.
    """

    def __init__(self, address: str, read: ReadCredentials) -> None:
        """Read the credentials. NodeUnreachableError if `read` fails."""
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
        """Reconnect if LND's certificate or macaroon has changed. NodeUnreachableError if they cannot be read."""
        credentials = self._read()
        if credentials != self._credentials:
            before = self._channel
            self._credentials = credentials
            self._open()
            await before.close()

    async def close(self) -> None:
        """Close the connection. All streams and calls end."""
        await self._channel.close()

    @contextmanager
    def calling(self, what: str) -> Iterator[None]:
        """Turn gRPC's errors into NodeUnreachableError or LndRefusedError, with the failed action, in this context."""
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
            # This task was not cancelled: gRPC cancels the calls of a closed connection.
            raise NodeUnreachableError(f"LND at {self.address} did not {what}: the connection was closed") from None
