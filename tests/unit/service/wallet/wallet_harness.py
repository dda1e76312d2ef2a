"""A phone for the tests of the wallet's shell: the real wallet beside a node and an LSP that are played here.

What leaves the node is read as its receivers would read it, with their keys. The wallet is asked as its command line
does it, over its socket; it can be killed between storing and acting, and started again with the store it left.
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from asyncpay.config import WalletConfig
from asyncpay.service.common import control_client
from asyncpay.service.common.control_client import NotRunningError
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.wallet import session

from .scripted_node import (
    INVOICE,
    ScriptedNode,
)

WAIT_SECONDS = 20


class KilledError(BaseException):
    """The wallet's process is killed here."""


class WalletHarness:
    """The wallet, and how it is asked. sections: of its configuration, beside the node and the store."""

    def __init__(self, folder: Path, **sections: dict[str, Any]) -> None:
        self.node = ScriptedNode()
        self.store = folder / "wallet.sqlite"
        self.progress: list[Any] = []
        self._lines = io.StringIO()
        self._config = WalletConfig.model_validate(
            {
                "node": {"implementation": "cln", "rpc_file": "/nowhere"},
                "store": {"path": self.store},
            }
            | sections
        )

    @asynccontextmanager
    async def awake(self) -> AsyncIterator[None]:
        """The wallet's process runs, and is attached to its node if that runs."""
        process = asyncio.create_task(self._process())
        try:
            await self._until_it_listens(process)
            if self.node.running:
                await self.until_attached()
            yield
        finally:
            process.cancel()
            await asyncio.gather(process, return_exceptions=True)
            self._config.store.socket.unlink(missing_ok=True)

    async def is_killed_before(self, effect: str, story: Callable[[], Awaitable[Any]], number: int = 1) -> None:
        """The process runs until it is about to carry out this effect, and dies; what it has stored is left."""
        self.store.with_name(self.store.name + ".crash-before").write_text(f"{effect} {number}")
        process = asyncio.create_task(self._process())
        await self._until_it_listens(process)
        telling = asyncio.create_task(_told(story))
        await until(process.done)
        (end,) = await asyncio.gather(process, return_exceptions=True)
        assert isinstance(end, KilledError), end
        await telling
        self._config.store.socket.unlink(missing_ok=True)

    async def ask(self, verb: str, **arguments: Any) -> Any:
        return await asyncio.to_thread(
            control_client.ask, self._config.store.socket, verb, self.progress.append, **arguments
        )

    async def pay(self, invoice: str = INVOICE.text, **wishes: Any) -> Any:
        nothing = dict.fromkeys(("amount_msat", "slack_blocks", "hold_for_seconds", "max_part_msat"))
        flags = dict.fromkeys(("private", "literal_release", "wait"), False)
        return await self.ask("pay", **({"invoice": invoice} | nothing | flags | wishes))

    async def payments(self) -> list[Any]:
        return list((await self.ask("payments"))["sent"])

    async def claims(self) -> list[Any]:
        return list((await self.ask("payments"))["announced"])

    async def until_attached(self) -> None:
        await until_asked(self._attached)

    async def _attached(self) -> bool:
        return bool((await self.ask("status"))["healthy"])

    async def _until_it_listens(self, process: asyncio.Task[None]) -> None:
        async def listens() -> bool:
            try:
                await self.ask("status")
            except NotRunningError:
                return process.done()
            return True

        await until_asked(listens)

    def lines(self, what: str) -> list[Any]:
        """What it wrote into its journal."""
        said = [json.loads(line) for line in self._lines.getvalue().splitlines()]
        return [line for line in said if line["what"] == what]

    async def _process(self) -> None:
        try:
            await session.run(self._config, EventLog(self._lines))
        except* KilledError:
            raise KilledError from None


async def _told(story: Callable[[], Awaitable[Any]]) -> None:
    """Whoever asks a process that dies meanwhile hears that it went away."""
    with suppress(NotRunningError):
        await story()


def die(_: int) -> None:
    """In the place of os._exit."""
    raise KilledError


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, WAIT_SECONDS at most."""

    async def is_so() -> bool:
        return condition()

    await until_asked(is_so)


async def until_asked(condition: Callable[[], Any]) -> None:
    """Likewise of what must be asked for."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await condition():  # noqa: ASYNC110 - what is waited for is not ours to signal
            await asyncio.sleep(0.005)


def awake(phone: WalletHarness, story: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with phone.awake():
            await story()

    asyncio.run(whole())


async def until_payment_is(phone: WalletHarness, state: str) -> None:
    async def is_so() -> bool:
        return [each["state"] for each in await phone.payments()] == [state]

    await until_asked(is_so)


async def until_claim_is(phone: WalletHarness, state: str) -> None:
    async def is_so() -> bool:
        return [each["state"] for each in await phone.claims()] == [state]

    await until_asked(is_so)
