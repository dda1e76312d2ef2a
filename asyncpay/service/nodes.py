"""From configuration to a node: the only place that knows which adapters there are."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asyncpay.config import ClnConfig, LndConfig, NodeConfig
from asyncpay.nodes.base import Node, NodeUnreachableError
from asyncpay.nodes.cln import ClnNode
from asyncpay.nodes.lnd import LndNode


@asynccontextmanager
async def open_node(config: NodeConfig) -> AsyncIterator[Node]:
    """The configured node, as soon as its credentials can be read. NodeUnreachableError until then."""
    match config:
        case LndConfig():
            async with _open_lnd(config) as lnd:
                yield lnd
        case ClnConfig():
            yield ClnNode(config.rpc_file)


def _open_lnd(config: LndConfig) -> LndNode:
    """LND renews its certificate when it expires or its file is gone, so the file is read at each attachment."""
    return LndNode.following(config.address, lambda: _read(config))


def _read(config: LndConfig) -> tuple[bytes, bytes]:
    try:
        return config.tls_certificate.read_bytes(), config.macaroon.read_bytes()
    except OSError as error:
        raise NodeUnreachableError(
            f"{config}: {error.filename} cannot be read ({error.strerror}). "
            "LND writes it when it first starts; otherwise see to the path and the permissions."
        ) from None
