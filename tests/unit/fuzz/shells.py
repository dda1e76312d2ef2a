"""The components as they run, with a real store, beside a played node; and what must be so after each input."""

import asyncio
import io
import json
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from asyncpay.config import LspConfig, WalletConfig
from asyncpay.engine.policy import LspPolicy
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.lsp import session as lsp_session
from asyncpay.service.wallet import session as wallet_session
from asyncpay.store import LspStore, WalletStore
from asyncpay.store.database import Store

from .identities import HONEST

WAIT_SECONDS = 60
"""Much longer than anything takes; beyond it the component does not answer."""


class Log(io.StringIO):
    """A log that cannot be written while it is `broken`; otherwise it keeps its last lines."""

    broken = False
    last_resort = ""
    """A line by which the component says that it met an error that nobody foresaw."""

    def write(self, text: str) -> int:
        if self.broken:
            raise OSError(28, "No space left on device")
        if "unexpected error" in text or "cannot be handled" in text:
            self.last_resort = text
        if self.tell() > 1_000_000:
            self.seek(0)
            self.truncate()
        return super().write(text)


class Shell:
    """One component that runs."""

    store: type[Store[Any]]

    def __init__(self, node: Any, folder: Path, **webhooks: Any) -> None:
        self.node = node
        self.log = Log()
        self.path = folder / "store.sqlite"
        self._webhooks = webhooks
        self._asked = 0
        self._task: asyncio.Task[None] | None = None
        self._seen: dict[str, int] = {}
        self._background: set[asyncio.Task[Any]] = set()

    def run(self) -> Any:
        raise NotImplementedError

    async def honest_request(self) -> None:
        """Ask as somebody else does, and wait for the answer."""
        raise NotImplementedError

    async def start(self) -> None:
        self._task = asyncio.create_task(self.run())
        await self.check()

    def background(self, work: Coroutine[Any, Any, Any]) -> None:
        """Have something done that need not end."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def stop(self) -> None:
        """Stop it, and read its store as the next process will."""
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        with self.store(self.path) as store:
            for _ in store.load():
                pass

    async def check(self) -> None:
        """It lives, an honest request is answered, what it has stored can be read, and nobody had to be surprised."""
        assert self._task is not None
        answered = asyncio.create_task(self.honest_request())
        done, _ = await asyncio.wait({self._task, answered}, timeout=WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if self._task in done:
            answered.cancel()
            self._task.result()
            raise AssertionError("the component has ended")
        if answered not in done:
            answered.cancel()
            raise AssertionError(f"an honest request is not answered within {WAIT_SECONDS} s")
        answered.result()
        self._read_store()
        if self.log.last_resort:
            raise AssertionError(f"only the last resort has saved it: {self.log.last_resort}")

    def _read_store(self) -> None:
        """Beside the component: SQLite lets others read. Tables that have not changed in size are left for `stop`."""
        with sqlite3.connect(self.path) as beside:
            for table in self.store.tables.values():
                name = table.select.split(" FROM ")[1].split()[0]
                (rows,) = beside.execute(f"SELECT count(*) FROM {name}").fetchone()
                if rows != self._seen.get(name):
                    self._seen[name] = rows
                    for row in beside.execute(table.select + " LIMIT 50"):
                        table.shape.from_row(row)
        beside.close()


class LspShell(Shell):
    """`asyncpay lsp`."""

    store = LspStore

    def run(self) -> Any:
        given = {"node": self.node.config, "store": {"path": self.path}, "webhooks": self._webhooks}
        policy = LspPolicy(wake_timeout_seconds=0.2)
        return lsp_session.run(LspConfig(**given, policy=policy), EventLog(self.log))

    async def honest_request(self) -> None:
        self._asked += 1
        call = {"jsonrpc": "2.0", "id": f"honest {self._asked}", "method": "async_payments.get_info", "params": {}}
        while True:
            self.node.custom(HONEST, json.dumps(call).encode())
            try:
                async with asyncio.timeout(0.5):  # a message may be lost while the component attaches anew: asked again
                    while json.loads(await self.node.heard[HONEST].get()).get("id") != call["id"]:
                        pass
                return
            except TimeoutError:
                continue


class WalletShell(Shell):
    """`asyncpay wallet run`, asked over its socket."""

    store = WalletStore

    def run(self) -> Any:
        given = {"node": self.node.config, "store": {"path": self.path}, "lsp": {"node_id": HONEST.hex()}}
        self._socket = WalletConfig(**given).store.socket
        return wallet_session.run(WalletConfig(**given), EventLog(self.log))

    async def honest_request(self) -> None:
        while True:
            answer = await self.ask({"verb": "payments", "arguments": {}})
            if answer is not None:
                assert "result" in answer, answer
                return
            await asyncio.sleep(0.01)  # it begins again from its store; `check` bounds how long it may take

    async def ask(self, request: Any, write: Callable[[Any], bytes] = lambda what: json.dumps(what).encode()) -> Any:
        """The last line of the answer; None if nobody answers."""
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket, limit=2**24)
        except OSError:
            return None
        try:
            writer.write(write(request) + b"\n")
            last = None
            while line := await reader.readline():
                last = json.loads(line)
            return last
        except (OSError, ValueError):
            return None
        finally:
            writer.close()
