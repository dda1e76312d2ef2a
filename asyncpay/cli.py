"""`asyncpay`: the components that an LSP and a wallet install beside their node."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from asyncpay import config as configuration
from asyncpay.service import lsp as service
from asyncpay.service import status as status_socket
from asyncpay.service.journal import Journal
from asyncpay.service.status_tables import tables
from asyncpay.store import StoreError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
lsp = typer.Typer(invoke_without_command=True, help="The LSP: holds HTLCs, keeps onion messages, wakes phones.")
app.add_typer(lsp, name="lsp")
err = Console(stderr=True)

ConfigFile = Annotated[
    Path, typer.Option("--config", envvar="ASYNCPAY_LSP_CONFIG", help="the LSP's TOML file", show_default=True)
]
DEFAULT = Path("lsp.toml")


@lsp.callback()
def run(context: typer.Context, config: ConfigFile = DEFAULT) -> None:
    """Run the LSP until it is told to stop (SIGTERM, Ctrl-C); what happens goes to standard output as JSON lines."""
    if context.invoked_subcommand is not None:
        return
    loaded = _load(config)
    journal = Journal()
    try:
        asyncio.run(_until_signalled(loaded, journal))
    except* (StoreError, ValueError) as problems:
        for problem in problems.exceptions:
            err.print(f"[red]error:[/] {problem}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    journal.note("stopped")


async def _until_signalled(config: configuration.LspConfig, journal: Journal) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await service.run(config, journal)
    except asyncio.CancelledError:
        task.uncancel()


@lsp.command()
def status(
    config: ConfigFile = DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable, on standard output")] = False,
) -> None:
    """Node, held HTLCs with age and deadlines, mailbox, webhooks, last errors. Exit code 1 if unhealthy."""
    seen = _ask(config)
    if as_json:
        print(json.dumps(seen, indent=2))
    else:
        Console().print(*tables(seen))
    raise typer.Exit(0 if seen["healthy"] else 1)


@lsp.command()
def health(config: ConfigFile = DEFAULT) -> None:
    """Exit code 0 if the LSP runs and its node is attached, otherwise 1: for a container's health check."""
    raise typer.Exit(0 if _ask(config)["healthy"] else 1)


def _ask(config: Path) -> status_socket.Status:
    try:
        return status_socket.ask(_load(config).store.status_socket)
    except status_socket.NotRunningError as error:
        err.print(f"[red]error:[/] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


def _load(path: Path) -> configuration.LspConfig:
    try:
        return configuration.load(path)
    except configuration.ConfigError as error:
        err.print(f"[red]error:[/] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
