"""How to reach LND's gRPC: TLS with the node's own certificate, and a macaroon with each call."""

from typing import Any

import grpc

# LND answers for large graphs and long payment lists; gRPC's 4 MB would cut them off.
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024

OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    # The certificate is pinned and always names `localhost`; the address dialled may be any.
    ("grpc.ssl_target_name_override", "localhost"),
    # Macaroons are for the node alone: no proxy of the environment (https_proxy) comes between.
    ("grpc.enable_http_proxy", 0),
]


class _Macaroon(grpc.AuthMetadataPlugin):
    """Sends the macaroon with every call."""

    def __init__(self, macaroon: bytes) -> None:
        self._metadata = (("macaroon", macaroon.hex()),)

    def __call__(self, _: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        callback(self._metadata, None)


def credentials(tls_certificate: bytes, macaroon: bytes) -> grpc.ChannelCredentials:
    """Credentials for `grpc.secure_channel` and `grpc.aio.secure_channel`.

    tls_certificate: the node's tls.cert (PEM), the only certificate trusted. macaroon: the file's raw bytes.
    """
    return grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(tls_certificate), grpc.metadata_call_credentials(_Macaroon(macaroon))
    )
