"""Several sources of events as one stream."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from asyncpay.node_events import BlockConnected
from asyncpay.nodes.base import NodeUnreachableError
from asyncpay.nodes.event_stream import MAX_WAITING_EVENTS, MergedStream

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def merged() -> AsyncIterator[MergedStream]:
    stream = MergedStream()
    yield stream
    await stream.close()


async def test_the_source_that_ends_first_ends_the_stream_after_what_came_before(merged: MergedStream) -> None:
    async def one() -> None:
        await merged.put(BlockConnected(1))
        raise NodeUnreachableError("gone")

    async def another() -> None:
        await asyncio.Event().wait()

    merged.follow(another)
    merged.follow(one)
    stream = merged.events()
    assert await anext(stream) == BlockConnected(1)
    with pytest.raises(NodeUnreachableError, match="gone"):
        await anext(stream)


async def test_no_more_is_taken_than_somebody_reads(merged: MergedStream) -> None:
    put = 0

    async def floods() -> None:
        nonlocal put
        while True:
            await merged.put(BlockConnected(put))
            put += 1

    merged.follow(floods)
    stream = merged.events()
    assert await anext(stream) == BlockConnected(0)
    await asyncio.sleep(0)
    assert put <= MAX_WAITING_EVENTS + 1
    assert await anext(stream) == BlockConnected(1)


async def test_closing_ends_every_source(merged: MergedStream) -> None:
    ended = []

    async def source() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    merged.follow(source)
    merged.follow(source)
    await asyncio.sleep(0)
    await merged.close()
    assert ended == [True, True]
