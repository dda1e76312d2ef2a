"""Running a component until it is stopped.

This is a separate module because requests to a running component are frequent, and must not import the component.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import typer

from asyncpay.cli.common import C, show_error
from asyncpay.config import LspConfig, WalletConfig
from asyncpay.log_events import LogEvent
from asyncpay.service.common.control import SocketError
from asyncpay.service.common.event_log import EventLog
from asyncpay.service.lsp import session as lsp_session
from asyncpay.service.wallet import session as wallet_session
from asyncpay.store import StoreError


def run_lsp(config: LspConfig) -> None:
    """Run the LSP until SIGTERM or Ctrl-C."""
    _run(lsp_session.run, config)


def run_wallet(config: WalletConfig) -> None:
    """Run the wallet until SIGTERM or Ctrl-C."""
    _run(wallet_session.run, config)


def _run(service: Callable[[C, EventLog], Awaitable[None]], config: C) -> None:
    """Run the service; exit with code 2 if the component cannot run."""
    os.umask(0o077)  # its files contain secrets: pids and preimages
    event_log = EventLog()
    try:
        asyncio.run(_until_signalled(service(config, event_log)))
    except* (StoreError, SocketError, ValueError) as problems:
        for problem in problems.exceptions:
            show_error(problem)
        raise typer.Exit(2) from None
    event_log.write(LogEvent.STOPPED)


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
