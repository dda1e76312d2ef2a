"""How to reach LND's gRPC: TLS with the node's own certificate, and a macaroon with each call."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import grpc

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
