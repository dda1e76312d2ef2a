"""`asyncpay lsp`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from asyncpay.cli import common
from asyncpay.config import LspConfig
from asyncpay.service import control
from asyncpay.service.status_tables import Status, tables

app = typer.Typer(invoke_without_command=True, help="The LSP: holds HTLCs, keeps onion messages, wakes phones.")

_CONFIG_HELP = "the LSP's TOML file; lsp.toml if not given"
ConfigFile = Annotated[Path | None, typer.Option("--config", envvar="ASYNCPAY_LSP_CONFIG", help=_CONFIG_HELP)]
ConfigOfCommand = Annotated[Path | None, typer.Option("--config", help="as before the command")]
DEFAULT = Path("lsp.toml")


@app.callback()
def run(context: typer.Context, config: ConfigFile = None) -> None:
    """Run the LSP until it is told to stop (SIGTERM, Ctrl-C); what happens goes to standard output as JSON lines."""
    config = config or DEFAULT
    context.obj = config  # for a command that follows, which may be given another
    if context.invoked_subcommand is None:
        from asyncpay.cli.running import run_lsp  # here, so that a question does not load a whole LSP

        run_lsp(common.load(config, LspConfig))


@app.command()
def status(
    context: typer.Context,
    config: ConfigOfCommand = None,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable, on standard output")] = False,
) -> None:
    """Node, held HTLCs with age and deadlines, mailbox, webhooks, last errors. Exit code 1 if unhealthy."""
    seen = _ask(config or context.obj)
    if as_json:
        print(json.dumps(seen, indent=2))
    else:
        common.out.print(*tables(seen))
    raise typer.Exit(0 if seen["healthy"] else 1)


@app.command()
def health(context: typer.Context, config: ConfigOfCommand = None) -> None:
    """Exit code 0 if the LSP runs and its node is attached, otherwise 1: for a container's health check."""
    raise typer.Exit(0 if _ask(config or context.obj)["healthy"] else 1)


def _ask(config: Path) -> Status:
    with common.asking():
        seen: Status = control.ask(common.load(config, LspConfig).store.socket, "status", lambda _: None, "LSP")
    return seen
