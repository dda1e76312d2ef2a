"""Beginning again from the store: the journal says what stood in the way."""

import asyncio
import json

import pytest

from asyncpay.service import loop
from asyncpay.service.journal import Journal
from asyncpay.store import StoreError


def test_a_session_that_cannot_store_begins_again_and_says_why(capfd: pytest.CaptureFixture[str]) -> None:
    sessions = 0

    async def session(_: None, __: Journal) -> None:
        nonlocal sessions
        sessions += 1
        if sessions == 1:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fail())

    async def fail() -> None:
        raise StoreError("the disk is full. See to disk space")

    asyncio.run(loop.again_and_again(session, None, Journal()))

    assert sessions == 2
    (line,) = capfd.readouterr().out.splitlines()
    assert json.loads(line)["error"] == "the disk is full. See to disk space"
