"""`asyncpay`: the command line of the components that an LSP or a wallet runs next to its node."""

from importlib.metadata import version
from typing import Annotated

import typer

from asyncpay.cli import lsp, wallet

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.add_typer(lsp.app, name="lsp")
app.add_typer(wallet.app, name="wallet")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"asyncpay {version('asyncpay')}")
        raise typer.Exit


@app.callback(help=__doc__)
def _options(
    _version: Annotated[
        bool, typer.Option("--version", help="print the version and exit", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass
