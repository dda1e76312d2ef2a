"""The life cycle of a component: it opens its node, attaches to it again and again, and runs one session after another.

A session begins with an engine loaded from the store, and ends when store, node or engine fails.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import tenacity

from asyncpay.config import ClnConfig, LdkConfig, LndConfig, NodeConfig
from asyncpay.log_events import LogEvent
from asyncpay.node_events import NodeEvent
from asyncpay.nodes.base import Node, NodeError, NodeUnreachableError
from asyncpay.nodes.cln import ClnNode
from asyncpay.nodes.ldk import LdkNode
from asyncpay.nodes.lnd import LndNode
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.common.loop import EngineFailedError
from asyncpay.service.common.supervisor import supervised
from asyncpay.store import StoreError

FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS = 0.1, 2.0
"""The pauses between attempts to reach the node, or to begin again from the store; they double from the first to the
second. They are short, because a node forwards nothing while no component is attached."""

C = TypeVar("C")


@asynccontextmanager
async def open_node(config: NodeConfig) -> AsyncIterator[Node]:
    """Yield the configured node. NodeUnreachableError while its credentials cannot be read."""
    match config:
        case LndConfig():
            async with _open_lnd(config) as lnd:
                yield lnd
        case ClnConfig():
            yield ClnNode(config.rpc_file)
        case LdkConfig():
            yield LdkNode(config.socket)


def _open_lnd(config: LndConfig) -> LndNode:
    """Return the LND. Its certificate is read at each attachment, because LND renews it when it expires."""
    return LndNode.following(config.address, lambda: _read(config))


def _read(config: LndConfig) -> tuple[bytes, bytes]:
    try:
        return config.tls_certificate.read_bytes(), config.macaroon.read_bytes()
    except OSError as error:
        raise NodeUnreachableError(
            f"{config}: {error.filename} cannot be read ({error.strerror}). "
            "LND writes it when it first starts; otherwise check the path and the file permissions."
        ) from None


async def follow_node(
    node: Node,
    take: Callable[[NodeEvent], None],
    away: Callable[[], None],
    room: Callable[[], Awaitable[None]],
    event_log: EventLog,
) -> None:
    """Attach to the node, pass on its events, report when it is unreachable, and attach again, until cancelled.

    room: see Loop.room; awaited before each event is taken from the node.
    """
    attaching = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(Exception),
        wait=tenacity.wait_exponential(FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS),
    )
    async for attempt in attaching:
        with attempt:
            try:
                async for event in node.events():
                    attempt.retry_state.attempt_number = 1
                    _take(take, event, event_log)
                    await room()
                raise NodeUnreachableError("its event stream ended without an error")
            except NodeUnreachableError as error:
                event_log.error(LogEvent.NODE_AWAY, error)
                away()
                raise
            except Exception as error:
                event_log.unexpected("the node's events", error)
                away()
                raise


def _take(take: Callable[[NodeEvent], None], event: NodeEvent, event_log: EventLog) -> None:
    try:
        take(event)
    except Exception as error:
        event_log.unexpected(f"{type(event).__name__} of the node", error)


async def run_forever(session: Callable[[C, EventLog], Awaitable[None]], config: C, event_log: EventLog) -> None:
    """Run sessions, each of which begins from the store, until cancelled."""
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_is_passing),
        wait=tenacity.wait_exponential(FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS),
        before_sleep=lambda state: event_log.error(LogEvent.BEGINNING_AGAIN, _reasons(state.outcome.exception())),  # type: ignore[union-attr,arg-type]
    )
    async with supervised():
        await retrying(session, config, event_log)


def _reasons(error: BaseException) -> str:
    """Return the errors of all failed tasks of the session: an exception group's own message does not contain them."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_reasons(each) for each in error.exceptions)
    return str(error)


def _is_passing(error: BaseException) -> bool:
    """Return whether to begin again: store, node or engine failed, in any task of the session."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_passing(each) for each in error.exceptions)
    return isinstance(error, (StoreError, NodeError, EngineFailedError))
