"""What both command lines do alike: read their file, run until they are told to stop, and say what went wrong."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from asyncpay import config as configuration
from asyncpay.config import LspConfig, WalletConfig
from asyncpay.service.control import NotRunningError, RefusedError
from asyncpay.service.journal import Journal
from asyncpay.store import StoreError

C = TypeVar("C", LspConfig, WalletConfig)

out = Console()
err = Console(stderr=True)


def load(path: Path, kind: type[C]) -> C:
    """The configuration; exit code 2 if it cannot be used."""
    try:
        return configuration.load(path, kind)
    except configuration.ConfigError as error:
        fail(error, 2)


def fail(problem: object, code: int) -> NoReturn:
    """Say what is wrong, and end with this exit code."""
    err.print(f"[red]error:[/] {escape(str(problem))}", highlight=False, soft_wrap=True)
    raise typer.Exit(code) from None


@contextmanager
def asking() -> Iterator[None]:
    """Around a question to the running component: exit code 1 if it refuses or is not there."""
    try:
        yield
    except (NotRunningError, RefusedError) as error:
        fail(error, 1)


def run(service: Callable[[C, Journal], Awaitable[None]], config: C) -> None:
    """Run a component until SIGTERM or Ctrl-C; exit code 2 if it cannot."""
    journal = Journal()
    try:
        asyncio.run(_until_signalled(service(config, journal)))
    except* (StoreError, ValueError) as problems:
        for problem in problems.exceptions:
            err.print(f"[red]error:[/] {escape(str(problem))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    journal.note("stopped")


async def _until_signalled(work: Awaitable[None]) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await work
    except asyncio.CancelledError:
        task.uncancel()
